// One dataset /logits (positions x vocab, float32) in an HDF5 file of its own.
#pragma once

#include <cstdint>
#include <filesystem>

namespace qsweep::record {

// logits: row-major [rows, cols]. Written whole or not at all; throws Error{io}.
void write_logits(const std::filesystem::path& file, const float* logits, int64_t rows,
                  int64_t cols);

}  // namespace qsweep::record
