// Speed of the GPU backend, as fractions of what the same process measures as attainable.
//   gpu_bench [--json FILE] [--quick] [--no-linears] [FOLDER...]
//       tables of loading, decoding and prefill of each checkpoint, then of the linears; FILE gets
//       the same numbers; --quick leaves loading out and most linears
// Linears: replays of a graph over rotating weights, more than the second-level cache holds; time a
// launch, bytes of packed weights over time. Models: batch 1, greedy, wall time of next_token(),
// median; floor = bytes that the token must read (decode_work) over the read rate. Loading: from
// the page cache to the GPU, allocations included, over the rate of copying pinned memory.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "device/gpu.hpp"
#include "device/upload.hpp"
#include "gpu/on_gpu.hpp"
#include "kernels/cuda/ceilings.hpp"
#include "kernels/linear/linears.hpp"
#include "model/model.hpp"

namespace qsweep {
namespace {

using device::Context;
using nlohmann::ordered_json;
using quant::FormatId;
using quant::FormatSpec;
using quant::ScaleCodecId;

constexpr int host_threads = 16;

const FormatSpec int4_e5m5{FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}};

struct Shape {
  const char* name;
  int64_t out, in;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds of one linear.
double linear_seconds(const Context& context, const quant::PackedMatrix& weight, int64_t rows) {
  constexpr uint64_t least_bytes = uint64_t{300} << 20;
  std::vector<quant::PackedMatrix> copies;
  for (uint64_t bytes = 0; bytes < least_bytes; bytes += weight.bytes()) {
    copies.push_back(test::copy_on_gpu(weight));
  }
  test::OnGpu<float> x(test::rounded_to_bf16(test::random_values(rows * weight.cols, 3)));
  test::OnGpu<float> y(std::vector<float>(static_cast<size_t>(rows * weight.rows)));
  const auto all = [&] {
    for (const auto& copy : copies) {
      kernels::linear(
          context, {&copy, nullptr, x.data(), weight.cols, rows, y.data(), weight.rows, nullptr});
    }
  };
  all();  // whatever starts up on first use
  device::synchronize(context);
  device::WorkspaceLease lease;
  device::Graph graph;
  lease.open();
  graph.capture(context, all);
  lease.close();
  device::GpuTimer timer(context);
  std::vector<double> seconds;
  for (int i = 0; i < 15; ++i) {
    timer.start();
    graph.launch(context);
    seconds.push_back(timer.stop() / static_cast<double>(copies.size()));
  }
  return median(std::vector<double>(seconds.begin() + 3, seconds.end()));
}

ordered_json linears_table(const Context& context, double read_rate, bool quick) {
  ordered_json rows_json = ordered_json::array();
  const std::vector<Shape> shapes = {{"phi gate_up", 16384, 3072}, {"phi down", 3072, 8192},
                                     {"phi qkv", 9216, 3072},      {"phi o", 3072, 3072},
                                     {"phi lm_head", 32064, 3072}, {"llama gate_up", 16384, 2048},
                                     {"llama down", 2048, 8192}};
  const FormatSpec specs[] = {{FormatId::bf16},
                              {FormatId::fp8_e4m3, quant::per_channel},
                              {FormatId::int8, quant::per_channel},
                              {FormatId::int4, 128, true, {ScaleCodecId::fp16}},
                              int4_e5m5,
                              {FormatId::nf4, 64, true, {ScaleCodecId::dq8}}};
  std::printf("%-14s %-22s %4s %10s %9s %9s\n", "linear", "format", "rows", "time [us]", "TB/s",
              "fraction");
  for (size_t i = 0; i < (quick ? 4 : shapes.size()); ++i) {
    const Shape& shape = shapes[i];
    const auto values = test::random_values(shape.out * shape.in, 5, 0.02);
    for (const FormatSpec& spec : specs) {
      if (quick && spec.id != FormatId::bf16 && !(spec == int4_e5m5)) continue;
      const auto weight = quant::quantize_rtn(spec, values, shape.out, shape.in, host_threads);
      const auto bytes = static_cast<double>(weight.bytes());
      for (const int64_t rows : {1, 4, 16, 64}) {
        const double seconds = linear_seconds(context, weight, rows);
        std::printf("%-14s %-22s %4lld %10.2f %9.3f %8.1f%%\n", shape.name,
                    quant::to_string(spec).c_str(), static_cast<long long>(rows), seconds * 1e6,
                    bytes / seconds * 1e-12, 100 * bytes / seconds / read_rate);
        rows_json.push_back({{"out", shape.out},
                             {"in", shape.in},
                             {"format", quant::to_string(spec)},
                             {"rows", rows},
                             {"us", seconds * 1e6},
                             {"fraction", bytes / seconds / read_rate}});
      }
    }
    std::fflush(stdout);
  }
  return rows_json;
}

quant::QuantConfig config_of(const char* name, quant::Scope scope,
                             std::optional<FormatSpec> weights) {
  quant::QuantConfig config;
  config.name = name;
  if (weights) {
    config.scope = {scope};
    config.weights = weights;
  }
  return config;
}

// The median of the seconds that next_token() takes after `context_length` tokens.
double decode_seconds(const Context& context, model::Model& model, int64_t context_length) {
  constexpr int64_t steps = 64;
  const auto vocab = model::config_of(model).vocab;
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < context_length; ++i) {
    prompt.push_back(static_cast<int32_t>((i * 7919 + 13) % vocab));
  }
  const auto state = model::make_state(model, context_length + steps + 1);
  int32_t token = model::next_token(context, model, {state.get(), prompt});
  std::vector<double> seconds;
  for (int64_t i = 0; i < steps; ++i) {
    const Stopwatch watch;
    token = model::next_token(context, model, {state.get(), {&token, 1}}, i + 1 < steps);
    seconds.push_back(watch.seconds());
  }
  return median(std::vector<double>(seconds.begin() + 8, seconds.end()));
}

double prefill_seconds(const Context& context, model::Model& model, int64_t tokens) {
  std::vector<int32_t> prompt(static_cast<size_t>(tokens), 17);
  const auto state = model::make_state(model, tokens);
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) {
    model::reset_state(*state);
    const Stopwatch watch;
    model::next_token(context, model, {state.get(), prompt});
    seconds.push_back(watch.seconds());
  }
  return median(std::vector<double>(seconds.begin() + 1, seconds.end()));
}

// By number of reading threads; a mapping of its own each time. The best of three: what is measured
// is a rate, and the machine's other users only ever take from it.
ordered_json loading_table(Context context, const std::string& folder) {
  ordered_json rows = ordered_json::array();
  const double pinned = device::pinned_copy_rate(context);
  std::printf("\n%s\npinned copy to the GPU %.1f GB/s\n%-8s %9s %10s %9s %9s\n", folder.c_str(),
              pinned * 1e-9, "readers", "GB", "read [s]", "GB/s", "fraction");
  for (const int threads : {1, 2, 4, 8, 16}) {
    context.threads = threads;
    model::LoadReport best;
    for (int round = 0; round < 3; ++round) {
      model::LoadReport report;
      model::build_model(model::Checkpoint::open(folder), {}, context, nullptr, &report);
      if (best.read_bytes == 0 || report.read_seconds < best.read_seconds) best = report;
    }
    const double rate = static_cast<double>(best.read_bytes) / best.read_seconds;
    std::printf("%-8d %9.3f %10.3f %9.1f %8.1f%%\n", threads,
                static_cast<double>(best.read_bytes) * 1e-9, best.read_seconds, rate * 1e-9,
                100 * rate / pinned);
    std::fflush(stdout);
    rows.push_back({{"readers", threads},
                    {"bytes", best.read_bytes},
                    {"seconds", best.read_seconds},
                    {"fraction", rate / pinned}});
  }
  return {{"pinned_bytes_per_s", pinned}, {"by_readers", rows}};
}

ordered_json model_table(const Context& context, const std::string& folder, double read_rate,
                         double matrix_rate) {
  ordered_json rows = ordered_json::array();
  constexpr int64_t context_length = 512, prompt = 2048;
  const auto checkpoint = model::Checkpoint::open(folder);
  std::printf("\n%s\n%-24s %10s %10s %9s %12s %9s %9s %13s\n", folder.c_str(), "config",
              "decode [ms]", "floor [ms]", "fraction", "prefill [ms]", "fraction", "load [s]",
              "quantize [s]");
  std::shared_ptr<model::Model> base;
  for (const auto& config : {config_of("bf16", quant::Scope::mlp, std::nullopt),
                             config_of("mlp int4 g128 e5m5", quant::Scope::mlp, int4_e5m5),
                             config_of("mlp int4 g128 fp32", quant::Scope::mlp,
                                       FormatSpec{FormatId::int4, 128, true, {ScaleCodecId::fp32}}),
                             config_of("all int4 g128 e5m5", quant::Scope::all_linear, int4_e5m5),
                             config_of("mlp nf4 g64 dq8", quant::Scope::mlp,
                                       FormatSpec{FormatId::nf4, 64, true, {ScaleCodecId::dq8}})}) {
    const Stopwatch load;
    model::LoadReport report;
    const auto model = model::build_model(checkpoint, config, context, base.get(), &report);
    const double load_seconds = load.seconds();
    if (!base) base = model;
    const double decode = decode_seconds(context, *model, context_length);
    const double floor = model::decode_work(*model, context_length).bytes / read_rate;
    const double prefill = prefill_seconds(context, *model, prompt);
    const double prefill_floor = model::prefill_work(*model, prompt).flops / matrix_rate;
    std::printf("%-24s %11.3f %10.3f %8.1f%% %12.2f %8.1f%% %9.2f %13.3f\n", config.name.c_str(),
                decode * 1e3, floor * 1e3, 100 * floor / decode, prefill * 1e3,
                100 * prefill_floor / prefill, load_seconds, report.quantize_seconds);
    std::fflush(stdout);
    rows.push_back({{"config", config.name},
                    {"decode_ms", decode * 1e3},
                    {"decode_fraction", floor / decode},
                    {"prefill_ms", prefill * 1e3},
                    {"prefill_fraction", prefill_floor / prefill},
                    {"load_s", load_seconds},
                    {"quantize_s", report.quantize_seconds}});
  }
  return {{"context", context_length}, {"prompt", prompt}, {"configs", rows}};
}

struct Options {
  std::string json;
  bool linears = true, quick = false;
  std::vector<std::string> folders;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else if (word == "--no-linears") {
      options.linears = false;
    } else if (word == "--quick") {
      options.quick = true;
    } else if (word.starts_with("-")) {
      throw_invalid("unknown option '" + word + "'",
                    "known are --json FILE, --quick, --no-linears");
    } else {
      options.folders.push_back(word);
    }
  }
  return options;
}

int run(const Options& options) {
  Context context = device::open_gpu(0, 1, true);
  context.threads = host_threads;
  const device::GpuInfo& gpu = device::gpu_info();
  const double read_rate = kernels::cuda::read_rate(context, uint64_t{2} << 30);
  const double matrix_rate = kernels::cuda::matrix_rate(context);
  std::printf("%s, driver %s, CUDA %s: read %.3f TB/s, bf16 matrix product %.0f TFLOP/s\n\n",
              gpu.name.c_str(), gpu.driver.c_str(), gpu.runtime.c_str(), read_rate * 1e-12,
              matrix_rate * 1e-12);
  ordered_json report = {{"gpu", gpu.name},
                         {"driver", gpu.driver},
                         {"cuda", gpu.runtime},
                         {"read_bytes_per_s", read_rate},
                         {"matrix_flops_per_s", matrix_rate}};
  for (const std::string& folder : options.folders) {
    if (!options.quick) report["models"][folder]["loading"] = loading_table(context, folder);
    report["models"][folder]["speed"] = model_table(context, folder, read_rate, matrix_rate);
  }
  std::printf("\n");
  if (options.linears) report["linears"] = linears_table(context, read_rate, options.quick);
  if (!options.json.empty()) write_file_atomic(options.json, report.dump(2) + "\n");
  return 0;
}

}  // namespace
}  // namespace qsweep

int main(int argc, char** argv) {
  try {
    return qsweep::run(qsweep::parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
}
