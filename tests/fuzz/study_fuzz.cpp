// sweep::parse_study: YAML as events, the whole grammar of studies, expansion of sweeps, overrides.
//
// Input: the text of a study; behind zero bytes (a study has none), overrides.
// Promise: an accepted study written out with every default reads back as the same study, and its
// names can stand in paths.
#include <vector>

#include "base/files.hpp"
#include "fuzz/fuzz.hpp"
#include "sweep/grammar/study.hpp"

namespace {

void check(const std::string& text, const std::vector<std::string>& overrides) {
  using qsweep::fuzz::hold;
  const qsweep::sweep::Study study = qsweep::sweep::parse_study(text, "study.yaml", overrides);
  hold(qsweep::is_safe_name(study.name), "the study can name a folder");
  for (const auto& config : study.configs)
    hold(qsweep::is_safe_name(config.name), "so can configs");
  for (const auto& workload : study.workloads) {
    for (const auto& cell : workload.cells) hold(qsweep::is_safe_name(cell.lengths), "and lengths");
  }
  const std::string resolved = qsweep::sweep::to_yaml(study);
  if (resolved.size() > (1u << 20)) return;  // a sweep written out may pass the bound of a study
  const qsweep::sweep::Study again = qsweep::sweep::parse_study(resolved, "resolved.yaml");
  hold(qsweep::sweep::to_yaml(again) == resolved, "what is written out reads back the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = qsweep::fuzz::as_text(data, size);
  std::vector<std::string> parts;
  while (true) {
    const size_t zero = rest.find('\0');
    parts.emplace_back(rest.substr(0, zero));
    if (zero == rest.npos) break;
    rest.remove_prefix(zero + 1);
  }
  const std::string text = parts.front();
  parts.erase(parts.begin());
  qsweep::fuzz::accepted([&] { check(text, parts); });
  return 0;
}
