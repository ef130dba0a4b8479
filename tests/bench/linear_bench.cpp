// linear(): prefill against OpenBLAS's own SGEMM of the same shape with as many threads, and one
// row at a time against a streaming read of as many bytes, or against bf16.
#include <memory>

#include "bench/bench.hpp"
#include "kernels/linear/linear.hpp"

namespace qsweep::bench {
namespace {

using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using quant::ScaleCodecId;

std::string kernel_label(const FormatSpec& spec) {
  std::string name = quant::to_string(spec);
  for (char& c : name) c = c == ' ' ? '_' : c;
  return name;
}

struct Prefill {
  PackedMatrix w;
  int64_t rows;
  std::vector<float> x, dense, y;  // [rows, in], [out, in], [rows, out]
};

Comparison prefill(const FormatSpec& spec, int64_t rows, int64_t out, int64_t in, int threads) {
  auto data = std::make_shared<Prefill>();
  data->w = std::move(packed_copies(spec, out, in, 1).front());
  data->rows = rows;
  data->x = random_values(rows * in, 2);
  data->dense.resize(static_cast<size_t>(out * in));
  quant::dequantize_rows(data->w, 0, out, data->dense.data());
  data->y.resize(static_cast<size_t>(rows * out));
  return {[data, threads] {
            kernels::linear({.threads = threads}, {&data->w, nullptr, data->x.data(), data->w.cols,
                                                   data->rows, data->y.data(), data->w.rows});
          },
          [data, threads] {
            blas_product(threads, data->rows, data->w.rows, data->w.cols, data->x.data(),
                         data->dense.data(), data->y.data());
          }};
}

// Weights in all: more than any last-level cache, whatever the format.
constexpr int64_t total_bytes = int64_t{1280} << 20;

struct Decode {
  std::vector<PackedMatrix> layers;
  std::vector<float> x, y;
  std::vector<std::span<const std::byte>> bytes() const {
    std::vector<std::span<const std::byte>> all;
    for (const PackedMatrix& w : layers) {
      all.push_back(w.codes.bytes());
      if (w.scales.size() >= 4096) all.push_back(w.scales.bytes());
    }
    return all;
  }
  void run(int threads) {
    for (const PackedMatrix& w : layers) {
      kernels::linear({.threads = threads}, {&w, nullptr, x.data(), w.cols, 1, y.data(), w.rows});
    }
  }
};

// So many matrices in turn that one comes round again only after total_bytes of others.
std::shared_ptr<Decode> decode(const FormatSpec& spec) {
  const int64_t out = sized(8192, 64), in = sized(2048, 256);
  const auto one = static_cast<int64_t>(quant::packed_size(spec, out, in).total());
  auto data = std::make_shared<Decode>();
  data->layers = packed_copies(spec, out, in, tiny() ? 2 : total_bytes / one + 1);
  data->x = random_values(in, 3);
  data->y.resize(static_cast<size_t>(out));
  return data;
}

void add_gemv(const FormatSpec& spec, int threads, double read_target, double bf16_target) {
  const std::string base = "gemv/" + kernel_label(spec) + "/threads:" + std::to_string(threads);
  add({.name = base,
       .against = "streaming read",
       .target = read_target,
       .prepare = [spec, threads]() -> Comparison {
         const auto data = decode(spec);
         return {[data, threads] { data->run(threads); },
                 [bytes = data->bytes(), data, threads] { streaming_read(threads, bytes); }};
       }});
  if (spec.id == FormatId::bf16) return;
  add({.name = base + "/speed",
       .against = "bf16 gemv",
       .target = bf16_target,
       .prepare = [spec, threads]() -> Comparison {
         const auto data = decode(spec), bf16 = decode({FormatId::bf16});
         return {
             [data, threads] { data->run(threads); }, [bf16, threads] { bf16->run(threads); },
             static_cast<double>(data->layers.size()) / static_cast<double>(bf16->layers.size())};
       }});
}

FormatSpec int4(ScaleCodecId scale) {
  return {FormatId::int4, 128, true, {scale, scale == ScaleCodecId::e5m ? 5 : 0}};
}

}  // namespace

void add_prefill_benchmarks() {
  const int64_t rows = sized(2048, 16), hidden = sized(2048, 128);
  for (const int threads : thread_counts()) {
    for (const FormatSpec& spec : {FormatSpec{FormatId::bf16}, int4(ScaleCodecId::fp16)}) {
      for (const int64_t out : {hidden, 4 * hidden}) {
        add({.name = "prefill/" + std::to_string(out) + "x" + std::to_string(hidden) + "/" +
                     kernel_label(spec) + "/threads:" + std::to_string(threads),
             .against = "sgemm",
             .target = 0.6,
             .rounds = 7,
             .settle = threads > 1,
             .prepare = [=] { return prefill(spec, rows, out, hidden, threads); }});
      }
    }
  }
}

void add_gemv_benchmarks() {
  for (const int threads : thread_counts()) {
    add_gemv({FormatId::bf16}, threads, 0.6, 0);
    for (const ScaleCodecId scale : {ScaleCodecId::fp16, ScaleCodecId::fp32, ScaleCodecId::e5m}) {
      add_gemv(int4(scale), threads, 0, 2);
    }
    add_gemv({FormatId::nf4, 64, true, {ScaleCodecId::dq8}}, threads, 0, 0);
    add_gemv({FormatId::int8}, threads, 0, 0);
    add_gemv({FormatId::fp8_e4m3}, threads, 0, 0);
    add_gemv({FormatId::fp16}, threads, 0, 0);
  }
}

}  // namespace qsweep::bench
