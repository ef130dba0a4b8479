// Weight matrices as the checkpoint has them, in the place where a model lies. On the GPU they are
// on their way until wait(): several threads read, and building goes on meanwhile.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/upload.hpp"
#include "model/model.hpp"

namespace qsweep::model {

class RawMatrices {
 public:
  RawMatrices(const Checkpoint& checkpoint, const device::Context& context, RawWeights raw);

  // Throws Error{invalid_input} where the tensor is missing, or has another shape or no raw dtype.
  std::shared_ptr<const quant::PackedMatrix> matrix(const std::string& tensor, int64_t rows,
                                                    int64_t cols);
  // A copy that is there at once, read here whatever `raw` says, and no part of the report.
  std::shared_ptr<const quant::PackedMatrix> read_now(const std::string& tensor, int64_t rows,
                                                      int64_t cols);
  void wait();
  void tell(LoadReport& report) const;

 private:
  std::shared_ptr<quant::PackedMatrix> start(const std::string& tensor, int64_t rows, int64_t cols,
                                             bool read);

  const Checkpoint& checkpoint_;
  const device::Context& context_;
  RawWeights raw_;
  // Before the upload, which ends before they may go.
  std::vector<std::shared_ptr<quant::PackedMatrix>> matrices_;
  std::shared_ptr<quant::PackedMatrix> now_;
  std::optional<device::Upload> upload_;  // GPU only
};

}  // namespace qsweep::model
