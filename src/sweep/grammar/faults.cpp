#include "sweep/grammar/faults.hpp"

#include "base/error.hpp"

namespace qsweep::sweep::grammar {
namespace {

constexpr size_t max_told = 200;     // faults told at once; a generated file may have thousands
constexpr size_t max_kept = 10'000;  // more only cost memory
constexpr size_t max_listed_words = 16;

}  // namespace

int Faults::add_source(std::string name) {
  sources_.push_back(std::move(name));
  return static_cast<int>(sources_.size()) - 1;
}

void Faults::add(const Place& place, std::string_view problem, std::string_view why,
                 std::string_view suggestion) {
  if (faults_.size() >= max_kept) return;
  faults_.emplace(place, Error(ErrorKind::invalid_input, problem, why, suggestion).what());
}

bool Faults::enough() const {
  return faults_.size() >= max_told;
}

void Faults::throw_if_any() const {
  FaultList list;
  size_t told = 0;
  for (const auto& [place, message] : faults_) {
    if (told++ == max_told) {
      list.add({sources_.front(), 0, 0,
                "and " + std::to_string(faults_.size() - max_told) + " more faults"});
      break;
    }
    list.add({sources_.at(static_cast<size_t>(place.source)), place.line, place.column, message});
  }
  list.throw_if_any();
}

std::string suggest_word(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = nearest_word(word, known);
  if (!nearest.empty()) return "did you mean '" + nearest + "'?";
  if (known.empty()) return {};
  std::string text = "choose one of ";
  for (size_t i = 0; i < known.size() && i < max_listed_words; ++i) {
    text += (i > 0 ? ", " : "") + known[i];
  }
  return known.size() > max_listed_words ? text + ", ..." : text;
}

}  // namespace qsweep::sweep::grammar
