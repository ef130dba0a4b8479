// Proof that the quantized path ran. Taken around every run that uses a model, stored in the
// record, and checked again by the reducer with the same two functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "device/context.hpp"
#include "model/model.hpp"
#include "quant/config.hpp"
#include "record/record.hpp"

namespace qsweep::eval {

// Taken once when a config becomes resident: the weights' errors and a canary.
struct Residency {
  std::vector<quant::TensorError> errors;
  std::optional<double> canary;  // measure_canary
};

// ||logits - baseline logits|| / ||baseline logits|| on a fixed prompt of 16 tokens; nothing where
// both hold the same packed weights and round their inputs alike. Counts as forward passes: call
// before a Witness.
std::optional<double> measure_canary(const device::Context& context, model::Model& model,
                                     model::Model& baseline);

// Call counts at the start of a run; finish() writes the certificate of what happened since, with
// the packed bytes hashed again where they lie, which takes workspace there: read peaks before.
class Witness {
 public:
  explicit Witness(const model::Model& model);
  void finish(const device::Context& context, const model::Model& model,
              const quant::QuantConfig& config, const Residency& residency,
              record::RunRecord& record) const;

 private:
  uint64_t forwards_ = 0, heads_ = 0;
  std::map<std::string, std::map<std::string, uint64_t, std::less<>>>
      calls_;  // linear -> kernel -> calls
};

// Hash over all rows of the certificate and error datasets.
std::string certificate_digest(const record::RunRecord& record);
// Why the certificate does not hold, or empty.
std::string certificate_problem(const record::RunRecord& record);

}  // namespace qsweep::eval
