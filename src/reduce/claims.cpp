#include "reduce/claims.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>

#include "record/schema.hpp"
#include "reduce/compare.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;
using sweep::Claim;
using sweep::ClaimKind;

// What a claim is about, as indices into the observations and the schema.
struct Subject {
  size_t metric = 0;
  std::vector<size_t> configs, cells;
  std::string note, problem;
};

void add_note(std::string& notes, const std::string& note) {
  if (note.empty() || notes.find(note) != std::string::npos) return;
  notes += (notes.empty() ? "" : "; ") + note;
}

// Cells of the metric's workload kind (and the claim's lengths) that the plan has for all of the
// configs.
void find_cells(const Claim& claim, const Observations& obs, Subject& subject) {
  const std::string kind = claim.metric.substr(0, claim.metric.find('.'));
  size_t partly = 0;
  for (size_t cell = 0; cell < obs.cells.size(); ++cell) {
    const CellKey& key = obs.cells[cell];
    if (key.kind != kind || (!claim.lengths.empty() && key.lengths != claim.lengths)) continue;
    const auto has = [&](size_t config) { return obs.planned[obs.at(config, cell)] != 0; };
    if (std::all_of(subject.configs.begin(), subject.configs.end(), has)) {
      subject.cells.push_back(cell);
    } else {
      ++partly;
    }
  }
  if (partly > 0)
    subject.note = fmt::format("{} cells left out: not planned for every config", partly);
  if (subject.cells.empty()) subject.problem = "the plan has no cell with " + claim.metric;
}

Subject find_subject(const Claim& claim, const Observations& obs) {
  Subject subject;
  const schema::MetricInfo* info = schema::find_metric(claim.metric);
  if (info == nullptr) {
    subject.problem = "no record holds the metric " + claim.metric;
    return subject;
  }
  subject.metric = static_cast<size_t>(info - schema::metrics().data());
  for (const std::string& name : claim.configs) {
    const auto found = std::find(obs.configs.begin(), obs.configs.end(), name);
    if (found == obs.configs.end()) {
      subject.problem = "the plan has no config " + name;
      return subject;
    }
    subject.configs.push_back(static_cast<size_t>(found - obs.configs.begin()));
  }
  const bool chain = claim.kind == ClaimKind::ordered;
  if (subject.configs.size() < 2 || (!chain && subject.configs.size() != 2)) {
    subject.problem =
        chain ? "ordered needs two configs or more" : "the claim needs exactly two configs";
  } else if (info->better == schema::Better::neither &&
             (claim.kind == ClaimKind::not_worse || claim.kind == ClaimKind::better)) {
    subject.problem = "of " + claim.metric + " neither more nor less is better";
  } else {
    find_cells(claim, obs, subject);
  }
  return subject;
}

// The margin on the scale of d.
double margin_of(const Claim& claim, const Comparison& comparison) {
  if (comparison.ratio) {
    return std::log1p(claim.within_relative ? claim.within : claim.within / comparison.mean_b);
  }
  return claim.within_relative ? claim.within * std::abs(comparison.mean_b) : claim.within;
}

void fill_estimate(const Comparison& comparison, double margin, int sides, ClaimResult& result) {
  const Interval interval = comparison.interval95();
  const bool ratio = comparison.ratio;
  const auto level = [ratio](double d) { return ratio ? std::exp(d) : d; };
  const auto size = [ratio](double d) { return ratio ? std::expm1(d) : d; };
  result.estimate = level(comparison.difference);
  result.ci_low = level(interval.low);
  result.ci_high = level(interval.high);
  result.margin = size(margin);
  result.smallest_detectable = size(comparison.detectable(sides));
  result.n = static_cast<int64_t>(comparison.n);
}

std::string test_name(ClaimKind kind, const Comparison& comparison) {
  if (comparison.spread == Spread::exact) return "exact";
  return (kind == ClaimKind::equivalent ? "TOST, " : "one-sided ") + comparison.test();
}

void test_pair(const Claim& claim, bool lower_is_better, const Comparison& c, ClaimResult& result) {
  const double m = claim.kind == ClaimKind::better ? 0.0 : margin_of(claim, c);
  if (claim.kind == ClaimKind::equivalent) {
    result.p_support = std::max(c.p_greater(-m, Edge::closed), c.p_less(m, Edge::closed));
    // Either side refutes: Bonferroni over the two.
    result.p_refute = std::min(1.0, 2 * std::min(c.p_greater(m), c.p_less(-m)));
  } else {
    // Equal within the margin is not worse; equal is not better.
    const bool keeps = claim.kind == ClaimKind::not_worse;
    const Edge support = keeps ? Edge::closed : Edge::open,
               refute = keeps ? Edge::open : Edge::closed;
    result.p_support = lower_is_better ? c.p_less(m, support) : c.p_greater(-m, support);
    result.p_refute = lower_is_better ? c.p_greater(m, refute) : c.p_less(-m, refute);
  }
  fill_estimate(c, m, claim.kind == ClaimKind::equivalent ? 2 : 1, result);
  result.test = test_name(claim.kind, c);
  add_note(result.note, c.note);
}

// All pairs have to hold, so the largest p supports; one reversed pair refutes, so Bonferroni over
// the pairs.
void test_ordered(const Claim& claim, const Subject& subject, const Observations& obs,
                  ClaimResult& result) {
  const size_t pairs = subject.configs.size() - 1;
  double weakest = -1, refute = 1;
  for (size_t i = 0; i < pairs; ++i) {
    const Comparison c =
        compare(obs, subject.metric, subject.configs[i + 1], subject.configs[i], subject.cells);
    if (!c.problem.empty()) {
      ClaimResult untested;
      result.p_support = result.p_refute = untested.p_support;
      result.estimate = result.ci_low = result.ci_high = result.smallest_detectable =
          untested.estimate;
      result.n = 0;
      result.test.clear();
      add_note(result.note, c.problem);
      return;
    }
    const double holds = claim.increasing ? c.p_greater(0) : c.p_less(0);
    const double reversed =
        claim.increasing ? c.p_less(0, Edge::closed) : c.p_greater(0, Edge::closed);
    refute = std::min(refute, reversed);
    add_note(result.note, c.note);
    if (holds <= weakest) continue;
    weakest = holds;
    fill_estimate(c, 0, 1, result);
    result.test = test_name(claim.kind, c);
  }
  result.p_support = weakest;
  result.p_refute = std::min(1.0, static_cast<double>(pairs) * refute);
}

ClaimResult test_claim(const Claim& claim, const Observations& obs) {
  ClaimResult result;
  result.name = claim.name;
  result.kind = std::string(name_of(claim.kind));
  result.metric = claim.metric;
  result.configs = fmt::format("{}", fmt::join(claim.configs, ", "));
  if (const schema::MetricInfo* info = schema::find_metric(claim.metric)) {
    result.unit_of_estimate =
        info->scale == schema::Scale::ratio ? std::string("ratio") : std::string(info->units);
  }
  const Subject subject = find_subject(claim, obs);
  result.note = subject.note;
  if (!subject.problem.empty()) {
    add_note(result.note, subject.problem);
    return result;
  }
  if (claim.kind == ClaimKind::ordered) {
    test_ordered(claim, subject, obs, result);
    return result;
  }
  const Comparison comparison =
      compare(obs, subject.metric, subject.configs[0], subject.configs[1], subject.cells);
  if (!comparison.problem.empty()) {
    add_note(result.note, comparison.problem);
    return result;
  }
  const bool lower = schema::metrics()[subject.metric].better == schema::Better::lower;
  test_pair(claim, lower, comparison, result);
  return result;
}

void decide(std::vector<ClaimResult>& results) {
  std::vector<double> support, refute;
  for (const ClaimResult& result : results) {
    support.push_back(result.p_support);
    refute.push_back(result.p_refute);
  }
  const std::vector<double> support_holm = holm(support), refute_holm = holm(refute);
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].p_support_holm = support_holm[i];
    results[i].p_refute_holm = refute_holm[i];
    results[i].verdict = support_holm[i] <= alpha  ? Verdict::supported
                         : refute_holm[i] <= alpha ? Verdict::refuted
                                                   : Verdict::inconclusive;
  }
}

}  // namespace

std::vector<ClaimResult> judge_claims(const std::vector<Claim>& claims, size_t registered,
                                      const Observations& observations) {
  std::vector<ClaimResult> results;
  for (size_t i = 0; i < claims.size(); ++i) {
    results.push_back(test_claim(claims[i], observations));
    results.back().exploratory = i >= registered;
  }
  decide(results);
  return results;
}

}  // namespace qsweep::reduce
