#include "reduce/trust.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "base/hash.hpp"
#include "eval/certificate.hpp"
#include "reduce/attributes.hpp"

namespace qsweep::reduce {
namespace {

using record::RunRecord;

const std::vector<std::string>* text_column(const RunRecord& record, const std::string& path) {
  const auto found = record.datasets.find(path);
  return found == record.datasets.end()
             ? nullptr
             : std::get_if<std::vector<std::string>>(&found->second.values);
}

// Of static scales, as text with all bits; empty where there is none.
std::vector<std::string> ranges_of(const RunRecord& record, size_t tensors) {
  std::vector<std::string> ranges(tensors);
  const auto found = record.datasets.find("certificate/activation_absmax");
  if (found == record.datasets.end()) return ranges;
  const auto* values = std::get_if<std::vector<double>>(&found->second.values);
  for (size_t i = 0; values != nullptr && i < std::min(tensors, values->size()); ++i) {
    if (!std::isnan((*values)[i])) ranges[i] = fmt::format("{:a}", (*values)[i]);
  }
  return ranges;
}

// Why the file is not the run that the plan names, or empty.
std::string identity_problem(const RunRecord& record, const sweep::PlanManifest::Entry& entry) {
  const auto differs = [](const char* what, const std::string& found, const std::string& expected) {
    return found == expected ? std::string()
                             : fmt::format("{} is '{}', the plan says '{}'", what, found, expected);
  };
  for (const auto& [what, expected] : {std::pair{"run_id", entry.id},
                                       {"config", entry.config},
                                       {"workload", entry.workload},
                                       {"lengths", entry.lengths},
                                       {"workload_kind", entry.kind}}) {
    const std::string problem = differs(what, text_of(record, what), expected);
    if (!problem.empty()) return problem;
  }
  return differs("repeat", std::to_string(integer_of(record, "repeat", -1)),
                 std::to_string(entry.repeat));
}

std::string or_default(const std::string& text, const char* otherwise) {
  return text.empty() ? otherwise : text;
}

// The stored verdict is not believed: digest and rows are checked anew.
std::string proof_problem(const RunRecord& record) {
  if (!record.datasets.contains("certificate/tensor")) return "the record has no certificate";
  const std::string claimed = text_of(record, "certificate_problem");
  if (!claimed.empty()) return claimed;
  return eval::certificate_problem(record);
}

}  // namespace

Trust judge_record(const RunRecord& record, const sweep::PlanManifest::Entry& entry) {
  const std::string identity = identity_problem(record, entry);
  if (!identity.empty()) return {RunStatus::unreadable, "not the planned run: " + identity};
  const std::string status = text_of(record, "status"), error = text_of(record, "error");
  if (status == "failed") return {RunStatus::failed, or_default(error, "failed without a reason")};
  if (status == "unproven") {
    return {RunStatus::unproven, or_default(error, "marked unproven without a reason")};
  }
  if (status != "ok")
    return {RunStatus::unreadable, "status '" + status + "' is none of ok, failed, unproven"};
  if (entry.kind == "synthetic") return {};
  try {
    const std::string problem = proof_problem(record);
    if (!problem.empty()) return {RunStatus::unproven, problem};
  } catch (const std::exception& error_) {
    return {RunStatus::unproven, error_.what()};
  }
  return {};
}

void PackedAgreement::add(const std::string& config, size_t run, const RunRecord& record) {
  const auto* tensors = text_column(record, "certificate/tensor");
  const auto* hashes = text_column(record, "certificate/hash_packed");
  if (tensors == nullptr || hashes == nullptr || tensors->size() != hashes->size()) return;
  const std::vector<std::string> ranges = ranges_of(record, tensors->size());
  Hashes by_tensor;
  for (size_t i = 0; i < tensors->size(); ++i) by_tensor[(*tensors)[i]] = {(*hashes)[i], ranges[i]};
  std::string all;
  for (const auto& [tensor, held] : by_tensor)
    all += fmt::format("{}:{}={},{};", tensor.size(), tensor, held.hash_packed, held.absmax);
  Variant& variant = configs_[config][sha256_hex(all)];
  if (variant.runs.empty()) variant.hashes = std::move(by_tensor);
  variant.runs.push_back(run);
}

std::vector<std::pair<size_t, std::string>> PackedAgreement::disagreements() const {
  std::vector<std::pair<size_t, std::string>> out;
  for (const auto& [config, variants] : configs_) {
    if (variants.size() < 2) continue;
    size_t total = 0;
    const Variant* largest = nullptr;
    for (const auto& [digest, variant] : variants) {
      total += variant.runs.size();
      if (largest == nullptr || variant.runs.size() > largest->runs.size()) largest = &variant;
    }
    const bool majority = 2 * largest->runs.size() > total;
    for (const auto& [digest, variant] : variants) {
      if (majority && &variant == largest) continue;
      const Hashes& other = &variant == largest ? variants.begin()->second.hashes : largest->hashes;
      std::string tensor = "the list of tensors", what = "did not pack the same bytes";
      for (const auto& [name, held] : variant.hashes) {
        const auto found = other.find(name);
        if (found != other.end() && found->second == held) continue;
        tensor = name;
        if (found != other.end() && found->second.hash_packed == held.hash_packed)
          what = "were not calibrated alike";
        break;
      }
      for (const size_t run : variant.runs)
        out.emplace_back(run, fmt::format("runs of {} {}: {} differs", config, what, tensor));
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

size_t registered_claims(const sweep::PlanManifest& plan) {
  std::vector<sweep::Claim> first = plan.claims;
  while (!first.empty() && sweep::claims_hash(first) != plan.claims_hash) first.pop_back();
  return first.size();
}

}  // namespace qsweep::reduce
