#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/config_parts.hpp"
#include "model/quantized_io.hpp"
#include "quant/format/packed_hash.hpp"
#include "quant/format/rtn.hpp"
#include "quant/packed_io.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t max_file_bytes = 64u << 20;
constexpr int64_t max_width = int64_t{1} << 24, max_bytes = int64_t{1} << 48;

std::string hex_digest(const Place& place) {
  const std::string& text = place.string();
  const bool hex = text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
                     return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                   });
  if (!hex) place.fail("not a SHA-256", "expected 64 lower-case hex digits");
  return text;
}

// The config's own reader knows the keys below it, the place knows the file.
template <class Read>
auto at_place(const Place& place, Read read) {
  try {
    return read(place.value());
  } catch (const Error& error) {
    throw Error(error.kind(), place.path() + ": " + error.what());
  }
}

QuantizationFile::Tensor read_tensor(const std::string& name, const Place& place, bool ranges) {
  QuantizationFile::Tensor tensor;
  quant::TensorError& error = tensor.error;
  error.tensor = name;
  error.layer = place.at("layer").integer(-1, 1 << 20);
  error.spec = at_place(place.at("format"), quant::format_from_json);
  error.rows = place.at("rows").integer(1, max_width);
  error.cols = place.at("cols").integer(1, max_width);
  error.relative_mse = number(place.at("relative_mse"), 0, 1e30);
  error.worst_group = number(place.at("worst_group"), 0, 1e30);
  error.cosine = number(place.at("cosine"), -1.001, 1.001);
  error.code_bytes = static_cast<uint64_t>(place.at("code_bytes").integer(0, max_bytes));
  error.scale_bytes = static_cast<uint64_t>(place.at("scale_bytes").integer(0, max_bytes));
  tensor.hash = hex_digest(place.at("sha256"));
  if (ranges && quant::has_scales(error.spec.id)) {
    tensor.activation_absmax =
        static_cast<float>(number(place.at("activation_absmax"), quant::format::smallest_range,
                                  std::numeric_limits<float>::max()));
  }
  const std::string problem = quant::shape_problem(error.spec, error.rows, error.cols);
  if (!problem.empty()) place.fail("the format cannot hold this shape", problem);
  return tensor;
}

std::span<const std::byte> part(const Checkpoint& checkpoint, const std::string& linear,
                                const char* suffix) {
  const std::string name = linear + ".weight" + suffix;
  if (!checkpoint.contains(name)) return {};
  const TensorView& view = checkpoint.tensor(name);
  if (view.dtype != "U8" || view.shape.size() != 1) {
    throw_invalid(checkpoint.folder().string() + ": tensor '" + name + "' is no byte array",
                  "expected U8 with one dimension");
  }
  return view.bytes;
}

}  // namespace

std::optional<QuantizationFile> read_quantization(const fs::path& folder) {
  const fs::path path = folder / "quantization.json";
  if (!file_exists(path)) return std::nullopt;
  const nlohmann::json json =
      tok::parse_strict_json(read_file(path, max_file_bytes), path.string());
  const Place root(json, path.string() + ": ");
  const int64_t version =
      root.at("qsweep_quantization").integer(1, QuantizationFile::current_version);
  QuantizationFile file;
  file.dequantized = root.at("dequantized").boolean();
  if (version < QuantizationFile::current_version && !file.dequantized) {
    root.at("qsweep_quantization")
        .fail("written by an earlier qsweep, whose hashes were made in another way",
              "write the folder again with qsweep quantize");
  }
  file.config = at_place(root.at("config"), quant::config_from_json);
  file.quantize_seconds = number(root.at("quantize_seconds"), 0, 1e12);
  file.bytes_before = static_cast<uint64_t>(root.at("bytes_before").integer(0, max_bytes));
  file.bytes_after = static_cast<uint64_t>(root.at("bytes_after").integer(0, max_bytes));
  const Place tensors = root.at("tensors");
  if (!tensors.is_object()) tensors.fail("wrong type", "expected an object by linear name");
  const bool ranges = quant::needs_activation_ranges(file.config);
  for (const auto& [name, value] : tensors.value().items()) {
    file.tensors[name] =
        read_tensor(name, Place(value, path.string() + ": tensors." + name.substr(0, 200)), ranges);
  }
  return file;
}

quant::PackedMatrix load_packed(const Checkpoint& checkpoint, const std::string& linear,
                                const QuantizationFile::Tensor& entry) try {
  const quant::TensorError& shape = entry.error;
  quant::PackedMatrix matrix = quant::packed_from_parts(
      shape.spec, shape.rows, shape.cols, part(checkpoint, linear, ".codes"),
      part(checkpoint, linear, ".scales"), part(checkpoint, linear, ".zeros"));
  if (quant::packed_hash(matrix) != entry.hash) {
    throw_invalid("packed bytes have changed", "their hash differs from quantization.json",
                  "write the folder again with qsweep quantize");
  }
  return matrix;
} catch (const Error& error) {
  throw Error(error.kind(),
              checkpoint.folder().string() + ": linear '" + linear + "': " + error.what());
}

uint64_t stored_bytes(const Checkpoint& checkpoint) {
  uint64_t bytes = 0;
  for (const auto& [name, view] : checkpoint.tensors()) bytes += view.bytes.size();
  return bytes;
}

}  // namespace qsweep::model
