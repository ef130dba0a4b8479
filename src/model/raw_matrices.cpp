#include "model/raw_matrices.hpp"

#include <utility>

#include "model/checkpoint_values.hpp"

namespace qsweep::model {

using quant::PackedMatrix;

RawMatrices::RawMatrices(const Checkpoint& checkpoint, const device::Context& context,
                         RawWeights raw)
    : checkpoint_(checkpoint), context_(context), raw_(raw) {
  if (context.place() == device::Place::gpu) upload_.emplace(context, context.threads);
}

std::shared_ptr<PackedMatrix> RawMatrices::start(const std::string& tensor, int64_t rows,
                                                 int64_t cols, bool read) {
  const TensorView& view = checkpoint_.tensor(tensor, {rows, cols});
  const quant::FormatId format = raw_format(view, checkpoint_.place(tensor));
  if (!upload_) {
    return std::make_shared<PackedMatrix>(quant::pack_raw(format, view.bytes, rows, cols));
  }
  auto matrix = std::make_shared<PackedMatrix>(
      quant::allocate_packed({.id = format}, rows, cols, context_.place()));
  if (read) upload_->add(matrix->codes.data(), view.bytes);
  return matrix;
}

std::shared_ptr<const PackedMatrix> RawMatrices::matrix(const std::string& tensor, int64_t rows,
                                                        int64_t cols) {
  matrices_.reserve(matrices_.size() + 1);  // nothing may fail once the upload has begun
  matrices_.push_back(start(tensor, rows, cols, raw_ == RawWeights::read));
  return matrices_.back();
}

std::shared_ptr<const PackedMatrix> RawMatrices::read_now(const std::string& tensor, int64_t rows,
                                                          int64_t cols) {
  now_ = start(tensor, rows, cols, true);
  wait();
  return std::exchange(now_, nullptr);
}

void RawMatrices::wait() {
  if (upload_) upload_->wait();
}

void RawMatrices::tell(LoadReport& report) const {
  if (upload_) {
    report.read_bytes = upload_->bytes();
    report.read_seconds = upload_->seconds();
  }
  for (const auto& matrix : matrices_) {
    report.raw.emplace_back(matrix->codes.data(), matrix->codes.size());
  }
}

}  // namespace qsweep::model
