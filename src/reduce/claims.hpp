// Verdicts on the claims of a study. For d = A - B (in logs for ratio metrics), margin m >= 0:
//   equivalent  support: -m < d < m (TOST)           refute: d < -m or d > m
//   not_worse   support: A worse by less than m      refute: by more than m
//   better      support: A better                    refute: A worse
//   ordered     support: every adjacent pair rises (or falls) as claimed     refute: some pair does
//   the reverse
// Holm over the study's claims, separately for support and refute; supported if the adjusted p <=
// alpha, else refuted if that one is, else inconclusive.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/names.hpp"
#include "reduce/observations.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::reduce {

enum class Verdict { supported, refuted, inconclusive };

// Numbers are NaN where the claim could not be tested. With unit_of_estimate "ratio", estimate and
// interval are ratios A / B, margin and smallest_detectable relative changes (0.01 = 1 %);
// otherwise all are differences A - B in the metric's units. `ordered`: of the weakest pair, later
// config against earlier.
struct ClaimResult {
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  std::string name, kind, metric, configs;  // configs: "A, B"
  Verdict verdict = Verdict::inconclusive;
  bool exploratory = false;
  double estimate = nan, ci_low = nan, ci_high = nan, margin = nan;
  double p_support = nan, p_refute = nan, p_support_holm = nan, p_refute_holm = nan;
  double smallest_detectable = nan;
  std::string unit_of_estimate;
  int64_t n = 0;  // repeats, items or cells, as `test` says
  std::string test, note;
};

// The first `registered` claims were stored before the first run, the others are exploratory.
std::vector<ClaimResult> judge_claims(const std::vector<sweep::Claim>& claims, size_t registered,
                                      const Observations& observations);

}  // namespace qsweep::reduce

template <>
inline constexpr auto qsweep::enum_names<qsweep::reduce::Verdict> =
    std::to_array<qsweep::NamePair<qsweep::reduce::Verdict>>(
        {{qsweep::reduce::Verdict::supported, "supported"},
         {qsweep::reduce::Verdict::refuted, "refuted"},
         {qsweep::reduce::Verdict::inconclusive, "inconclusive"}});
