// Checkpoint folders written by `qsweep quantize`: packed (each quantized linear as
// <name>.weight.codes, .scales, .zeros, everything else unchanged) or dequantized (ordinary fp32
// safetensors any reader of the family loads), with quantization.json saying how they were made.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/model.hpp"

namespace qsweep::model {

// quantization.json, checked.
struct QuantizationFile {
  // Of the file's layout and its hashes. 2: quant::packed_hash in two levels (1: over all bytes at
  // once; packed folders with it are refused, dequantized ones need no hash).
  static constexpr int64_t current_version = 2;
  struct Tensor {
    quant::TensorError error;     // carries spec, rows, cols and bytes
    std::string hash;             // quant::packed_hash
    float activation_absmax = 0;  // of the input, where the config has static activation scales
  };
  bool dequantized = false;
  quant::QuantConfig config;
  std::map<std::string, Tensor> tensors;  // by linear name
  double quantize_seconds = 0;
  uint64_t bytes_before = 0, bytes_after = 0;  // of all weights
};

// nullopt where the folder has no quantization.json; throws Error{invalid_input} naming the place
// for a bad one.
std::optional<QuantizationFile> read_quantization(const std::filesystem::path& folder);

// The packed matrix of one linear, checked against its declared size and hash.
quant::PackedMatrix load_packed(const Checkpoint& checkpoint, const std::string& linear,
                                const QuantizationFile::Tensor& entry);

// Writes the folder of `model`, which was built from `checkpoint` under `config` with `report`.
void write_quantized(const Model& model, const Checkpoint& checkpoint,
                     const quant::QuantConfig& config, const std::filesystem::path& out_folder,
                     bool dequantized, const LoadReport& report);

// weight bytes of a checkpoint: all tensors as stored.
uint64_t stored_bytes(const Checkpoint& checkpoint);

}  // namespace qsweep::model
