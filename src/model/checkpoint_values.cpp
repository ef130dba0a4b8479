#include "model/checkpoint_values.hpp"

#include <cstring>

#include "base/error.hpp"
#include "base/half.hpp"

namespace qsweep::model {
namespace {

// Tensors need not be aligned in the file, so elements are copied out.
template <class T, class Convert>
void convert(std::span<const std::byte> bytes, float* out, Convert to_float) {
  for (size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    T bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = to_float(bits);
  }
}

}  // namespace

quant::FormatId raw_format(const TensorView& view, const std::string& place) {
  if (view.dtype == "BF16") return quant::FormatId::bf16;
  if (view.dtype == "F16") return quant::FormatId::fp16;
  if (view.dtype == "F32") return quant::FormatId::fp32;
  throw_invalid(place + " has dtype " + view.dtype, "weights are BF16, F16 or F32",
                "was the checkpoint quantized by another program?");
}

Matrix to_fp32(const TensorView& view, const std::string& place, device::MemoryClass memory_class) {
  const quant::FormatId format = raw_format(view, place);
  int64_t elements = 1;
  for (const int64_t dimension : view.shape) elements *= dimension;
  const int64_t rows = view.shape.size() < 2 ? 1 : view.shape[0];
  Matrix result(rows, rows == 0 ? 0 : elements / rows, memory_class);
  if (format == quant::FormatId::fp32) {
    std::memcpy(result.data(), view.bytes.data(), view.bytes.size());
  } else {
    convert<uint16_t>(view.bytes, result.data(),
                      format == quant::FormatId::bf16 ? bf16_to_float : fp16_to_float);
  }
  return result;
}

}  // namespace qsweep::model
