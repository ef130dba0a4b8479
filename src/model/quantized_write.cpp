#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/checkpoint_values.hpp"
#include "model/config_parts.hpp"
#include "model/quantized_io.hpp"
#include "model/structure.hpp"
#include "quant/packed_io.hpp"
#include "record/build_info.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr uint64_t max_copied_bytes = 512u << 20;
constexpr std::array companions = {
    "generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "tokenizer.model",         "vocab.json",        "merges.txt"};

using Sources = std::map<std::string, TensorSource>;

TensorSource raw_source(const TensorView& view) {
  return {view.dtype, view.shape, [bytes = view.bytes](const ByteSink& sink) { sink(bytes); }};
}

TensorSource fp32_source(const TensorView& view, const std::string& place) {
  raw_format(view, place);  // refuses here what cannot be converted later
  return {"F32", view.shape, [&view, place](const ByteSink& sink) {
            const Matrix values = to_fp32(view, place);
            sink(values.buffer.bytes());
          }};
}

// Decoded a few rows at a time: a model's largest matrix in fp32 is gigabytes.
TensorSource decoded_source(std::shared_ptr<const quant::PackedMatrix> weight) {
  return {"F32", {weight->rows, weight->cols}, [weight](const ByteSink& sink) {
            constexpr int64_t rows_at_once = 256;
            Matrix rows(std::min(rows_at_once, weight->rows), weight->cols);
            for (int64_t row = 0; row < weight->rows; row += rows_at_once) {
              const int64_t count = std::min(rows_at_once, weight->rows - row);
              quant::dequantize_rows(*weight, row, count, rows.data());
              sink(rows.buffer.bytes().first(static_cast<size_t>(count * weight->cols) * 4));
            }
          }};
}

void add_packed(const Linear& linear, Sources& sources) {
  for (const auto& [suffix, bytes] : quant::packed_parts(*linear.weight)) {
    if (bytes.empty()) continue;
    sources[linear.name + ".weight" + suffix] = {
        "U8", {static_cast<int64_t>(bytes.size())}, [bytes = bytes](const ByteSink& sink) {
          sink(bytes);
        }};
  }
}

Sources collect(const Model& model, const Checkpoint& checkpoint, bool dequantized) {
  Sources sources;
  for (const auto& [name, view] : checkpoint.tensors()) {
    sources[name] = dequantized ? fp32_source(view, checkpoint.place(name)) : raw_source(view);
  }
  for_each_linear(model, [&](const Linear& linear) {
    if (!linear.quantized) return;
    sources.erase(linear.name + ".weight");
    if (dequantized) {
      sources[linear.name + ".weight"] = decoded_source(linear.weight);
    } else {
      add_packed(linear, sources);
    }
  });
  return sources;
}

uint64_t total_bytes(const Sources& sources) {
  uint64_t bytes = 0;
  for (const auto& [name, source] : sources)
    bytes += tensor_bytes(source.dtype, source.shape, name);
  return bytes;
}

// The packed folder names its method, so that other readers refuse it instead of starting from
// random weights; the dequantized one is an ordinary checkpoint, whose head is its own where it was
// quantized apart from the embedding.
std::string config_text(const Model& model, const Checkpoint& checkpoint, bool dequantized) {
  auto config = ordered_json::parse(
      python_json(read_file(checkpoint.folder() / "config.json", max_copied_bytes)));
  if (!dequantized) {
    config["quantization_config"] = {{"quant_method", "qsweep"}};
    return config.dump(2) + "\n";
  }
  config.erase("dtype");
  config["torch_dtype"] = "float32";
  if (model.head.quantized) config["tie_word_embeddings"] = false;
  return config.dump(2) + "\n";
}

ordered_json tensor_json(const quant::TensorError& error, const std::string& hash) {
  return {{"layer", error.layer},
          {"format", quant::to_json(error.spec)},
          {"rows", error.rows},
          {"cols", error.cols},
          {"relative_mse", error.relative_mse},
          {"worst_group", error.worst_group},
          {"cosine", error.cosine},
          {"code_bytes", error.code_bytes},
          {"scale_bytes", error.scale_bytes},
          {"sha256", hash}};
}

std::string quantization_text(const Model& model, const quant::QuantConfig& config,
                              bool dequantized, const LoadReport& report, uint64_t before,
                              uint64_t after) {
  ordered_json tensors = ordered_json::object();
  for_each_linear(model, [&](const Linear& linear) {
    if (!linear.quantized) return;
    const auto found = std::find_if(report.errors.begin(), report.errors.end(),
                                    [&](const auto& error) { return error.tensor == linear.name; });
    expect(found != report.errors.end(), "the report has a row for every quantized linear");
    tensors[linear.name] = tensor_json(*found, linear.hash_when_packed);
    if (linear.activations.absmax > 0) {
      tensors[linear.name]["activation_absmax"] = linear.activations.absmax;
    }
  });
  const ordered_json file = {
      {"qsweep_quantization", QuantizationFile::current_version},
      {"dequantized", dequantized},
      {"method", name_of(config.method.id)},
      {"config", quant::to_json(config)},
      {"versions", {{"qsweep", record::build_info().version}, {"layout", 1}}},
      {"quantize_seconds", report.quantize_seconds},
      {"bytes_before", before},
      {"bytes_after", after},
      {"ratio", static_cast<double>(after) / static_cast<double>(before)},
      {"tensors", tensors}};
  return file.dump(2) + "\n";
}

void check_target(const Checkpoint& checkpoint, const fs::path& out_folder) {
  std::error_code ignored;
  if (fs::equivalent(checkpoint.folder(), out_folder, ignored)) {
    throw_invalid("cannot write to " + out_folder.string(), "it is the model being quantized",
                  "choose another folder");
  }
  if (fs::exists(out_folder / "model.safetensors.index.json", ignored)) {
    throw_invalid("cannot write to " + out_folder.string(), "it holds a sharded checkpoint",
                  "choose another folder");
  }
  const auto made = read_quantization(checkpoint.folder());
  if (made && !made->dequantized) {
    throw_invalid(checkpoint.folder().string() + " is quantized already",
                  "its weights are packed codes", "start from the original checkpoint");
  }
}

}  // namespace

void write_quantized(const Model& model, const Checkpoint& checkpoint,
                     const quant::QuantConfig& config, const fs::path& out_folder, bool dequantized,
                     const LoadReport& report) {
  check_target(checkpoint, out_folder);
  const Sources sources = collect(model, checkpoint, dequantized);
  write_safetensors(out_folder / "model.safetensors", sources, {{"format", "pt"}});
  for (const char* name : companions) {
    const fs::path from = checkpoint.folder() / name;
    if (fs::exists(from)) write_file_atomic(out_folder / name, read_file(from, max_copied_bytes));
  }
  write_file_atomic(out_folder / "quantization.json",
                    quantization_text(model, config, dequantized, report, stored_bytes(checkpoint),
                                      total_bytes(sources)));
  // Last: without it the folder is no checkpoint, so a half-written one is never read.
  write_file_atomic(out_folder / "config.json", config_text(model, checkpoint, dequantized));
}

}  // namespace qsweep::model
