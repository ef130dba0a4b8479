// Values of checkpoint tensors: raw format by dtype, and conversion to fp32.
#pragma once

#include <string>

#include "model/model.hpp"

namespace qsweep::model {

// BF16, F16, F32 -> format; throws Error{invalid_input} naming `place`, the file or folder and the
// tensor, for any other dtype.
quant::FormatId raw_format(const TensorView& view, const std::string& place);

// fp32 values, [shape[0], rest] (one row for a vector).
Matrix to_fp32(const TensorView& view, const std::string& place,
               device::MemoryClass memory_class = device::MemoryClass::workspace);

}  // namespace qsweep::model
