#include "sweep/plan/part.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/rng.hpp"

namespace qsweep::sweep {
namespace {

constexpr int64_t max_parts = 100000;

// "-3-of-16" -> "-of-16".
std::string deal_of(const std::string& suffix) {
  const size_t at = suffix.rfind("-of-");
  return at == std::string::npos ? "" : suffix.substr(at);
}

}  // namespace

std::string Part::text() const {
  return fmt::format("{}/{}", index, count);
}

std::string Part::suffix() const {
  return whole() ? "" : fmt::format("-{}-of-{}", index, count);
}

bool same_deal(const std::string& suffix, const std::string& other) {
  const std::string deal = deal_of(suffix);
  return !deal.empty() && deal == deal_of(other);
}

bool supersedes(const Part& part, const std::string& suffix) {
  return suffix == part.suffix() || !same_deal(suffix, part.suffix());
}

Part parse_part(const std::string& text) {
  Part part;
  if (text.empty()) return part;
  const size_t slash = text.find('/');
  if (slash == std::string::npos) {
    throw_invalid("'" + text + "' names no part", "--part takes K/N, such as 3/16");
  }
  part.count = whole_number(text.substr(slash + 1), "--part K/N: N", 1, max_parts);
  part.index = whole_number(text.substr(0, slash), "--part K/N: K", 1, part.count);
  return part;
}

std::set<size_t> runs_of_part(const Plan& plan, const Part& part) {
  const auto seed = static_cast<uint64_t>(plan.study.seed);
  std::vector<std::pair<double, uint64_t>> key(plan.runs.size());  // dearest first, then by chance
  std::vector<size_t> order(plan.runs.size());
  for (size_t i = 0; i < order.size(); ++i) {
    key[i] = {-plan.runs[i].cost, splitmix64(splitmix64(seed) + i)};
    order[i] = i;
  }
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return key[i] < key[j]; });
  // Seconds and number of runs that a part has got: where nothing is known of costs, numbers count.
  using Load = std::pair<std::pair<double, size_t>, int64_t>;
  std::priority_queue<Load, std::vector<Load>, std::greater<>> least;
  for (int64_t index = 1; index <= part.count; ++index) least.push({{0, 0}, index});
  std::set<size_t> mine;
  for (const size_t i : order) {
    const auto [load, index] = least.top();
    least.pop();
    if (index == part.index) mine.insert(i);
    least.push({{load.first + plan.runs[i].cost, load.second + 1}, index});
  }
  return mine;
}

}  // namespace qsweep::sweep
