// The study's claims, checked against its configs, workloads and the record's metrics.
#pragma once

#include <vector>

#include "sweep/grammar/read.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep::grammar {

inline constexpr size_t max_claims = 1000;

// `study`: configs and workloads already read.
std::vector<Claim> read_claims(const Node& node, const Study& study, Faults& faults);
// A metric of the record, or of a workload kind whose metrics come with its engine; tells the fault
// otherwise.
bool check_metric(const std::string& metric, const Place& place, const std::string& what,
                  const Study& study, Faults& faults);
// The metric alone: in the record's schema, or of a kind whose metrics come with its engine.
bool is_known_metric(const std::string& metric);
std::vector<std::string> metric_names();
const std::vector<std::string>& claim_keys();

// The claim as one flow map of YAML.
std::string claim_yaml(const Claim& claim);

}  // namespace qsweep::sweep::grammar
