// --part K/N: one of N independent sweeps that share a run folder, each with runs of its own, as an
// array of single-GPU jobs does it. Every part makes the same deal by itself, so they need not know
// of each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

struct Part {
  int64_t index = 1, count = 1;  // index: 1..count
  std::set<size_t> runs;         // indices into the plan's runs; without meaning for the whole plan
  bool whole() const { return count == 1; }
  std::string text() const;    // "3/16"
  std::string suffix() const;  // of names in the run folder: "-3-of-16"; empty for the whole plan
};

// Whether names of these suffixes belong to parts of one deal, which may be at work side by side.
bool same_deal(const std::string& suffix, const std::string& other);

// Whether a sweep of `part`, which has its lock, may remove what a name of this suffix tells of a
// sweep at work: it is its own of an earlier start, or of one that its lock keeps out.
bool supersedes(const Part& part, const std::string& suffix);

// "3/16", or empty for the whole plan. Throws Error{invalid_input}.
Part parse_part(const std::string& text);

// Deals the plan's runs: the dearest first, each to the part that has least so far, those of equal
// cost in random order, so that the configs fall on parts (and on their nodes) by chance and no
// part gets more than one run more than it should. `plan`: with costs that are the same in every
// part, so of fixed rates.
std::set<size_t> runs_of_part(const Plan& plan, const Part& part);

}  // namespace qsweep::sweep
