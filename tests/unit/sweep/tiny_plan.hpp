// A small study and its plan, for tests that change a piece of it and look at what becomes of it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sweep/plan/plan.hpp"

namespace qsweep::sweep::tiny_plan {

// A model that is nowhere and has no published shape, so that nothing of this machine enters.
inline const std::string tiny = R"(study: tiny
model: nowhere/at-all
seed: 5
repeats: 2
configs:
  C0: {}
  C1: {scope: mlp, weights: int4/g128/e5m5}
workloads:
  profile: {prompt: [4, 8], output: 2}
  perplexity: {data: no-such.txt, window: 8, stride: 4, repeats: 1}
claims:
  b: {equivalent: [C0, C1], metric: perplexity.nll, within: 1%}
  a: {better: [C1, C0], metric: profile.tpot_ms}
)";

inline Plan plan_of(const std::string& yaml, const PlanOptions& options = {}) {
  return make_plan(parse_study(yaml, "study.yaml"), options);
}

inline PlanOptions only(std::vector<std::string> globs) {
  PlanOptions options;
  options.only = std::move(globs);
  return options;
}
inline PlanOptions repeated(int64_t repeats) {
  PlanOptions options;
  options.repeats = repeats;
  return options;
}

inline std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

inline bool refused(const Plan& plan, const std::string& config, const std::string& workload,
                    const std::string& part) {
  for (const Refusal& refusal : plan.refusals) {
    if (refusal.config == config && refusal.workload == workload &&
        refusal.reason.find(part) != std::string::npos)
      return true;
  }
  return false;
}

inline std::string told_refusals(const Plan& plan) {
  std::string text;
  for (const Refusal& r : plan.refusals)
    text += r.config + "/" + r.workload + "/" + r.lengths + ": " + r.reason + "\n";
  return text;
}

}  // namespace qsweep::sweep::tiny_plan
