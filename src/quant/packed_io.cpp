// Packed matrices from and to byte arrays; what comes from outside is checked before it is used.
#include "quant/packed_io.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.hpp"

namespace qsweep::quant {
namespace {

device::Buffer checked_copy(const std::string& part, std::span<const std::byte> bytes,
                            uint64_t expected) {
  if (bytes.size() != expected) {
    throw_invalid(
        "packed " + part + " of the wrong size",
        "expected " + std::to_string(expected) + " bytes, found " + std::to_string(bytes.size()));
  }
  device::Buffer buffer(bytes.size(), device::MemoryClass::weights);
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return buffer;
}

void check_scales(const PackedMatrix& matrix) {
  const bool may_be_negative =
      matrix.spec.scale.id == ScaleCodecId::dq8;  // absmax + offset can round below 0
  const std::vector<float> scales = decode_scales(matrix);
  for (size_t i = 0; i < scales.size(); ++i) {
    if (std::isfinite(scales[i]) && (may_be_negative || scales[i] > 0)) continue;
    throw_invalid("packed scale " + std::to_string(i) + " is " + std::to_string(scales[i]),
                  "scales are finite and positive", "quantize the model again");
  }
}

void check_codes(const PackedMatrix& matrix) {
  if (matrix.spec.id != FormatId::fp8_e4m3) return;
  const std::span<const std::byte> codes = matrix.codes.bytes();
  const auto nan = std::find_if(codes.begin(), codes.end(), [](std::byte code) {
    return (code & std::byte{0x7F}) == std::byte{0x7F};
  });
  if (nan == codes.end()) return;
  throw_invalid("packed code " + std::to_string(nan - codes.begin()) + " is NaN",
                "fp8 weights are finite", "quantize the model again");
}

}  // namespace

std::map<std::string, std::span<const std::byte>> packed_parts(const PackedMatrix& matrix) {
  std::map<std::string, std::span<const std::byte>> parts;
  parts[".codes"] = matrix.codes.bytes();
  if (matrix.scales.size() > 0) parts[".scales"] = matrix.scales.bytes();
  if (matrix.zeros.size() > 0) parts[".zeros"] = matrix.zeros.bytes();
  return parts;
}

PackedMatrix packed_from_parts(const FormatSpec& spec, int64_t rows, int64_t cols,
                               std::span<const std::byte> codes, std::span<const std::byte> scales,
                               std::span<const std::byte> zeros) {
  const PackedSize size = packed_size(spec, rows, cols);
  PackedMatrix matrix;
  matrix.spec = spec;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.codes = checked_copy("codes", codes, size.codes);
  matrix.scales = checked_copy("scales", scales, size.scales);
  matrix.zeros = checked_copy("zeros", zeros, size.zeros);
  check_scales(matrix);
  check_codes(matrix);
  return matrix;
}

}  // namespace qsweep::quant
