// attention(): one row over long caches against a streaming read of the cache, a prompt against
// SGEMM, in FLOPs of the causal half.
#include "kernels/attention/attention.hpp"

#include <memory>

#include "bench/bench.hpp"
#include "device/buffer.hpp"

namespace qsweep::bench {
namespace {

using kernels::CacheType;
using kernels::CacheView;

// 32 query heads over 8 KV heads of 128: the attention of an 8 B llama.
constexpr int64_t heads = 32, kv_heads = 8, dim = 128;

struct Layer {
  int64_t capacity;
  CacheType type;
  device::Buffer keys, values;

  Layer(int64_t positions, CacheType cache_type)
      : capacity(positions), type(cache_type), keys(filled()), values(filled()) {}
  CacheView view(device::Buffer& buffer) const {
    return {buffer.data(), type, kv_heads, capacity, dim};
  }
  device::Buffer filled() const {
    device::Buffer buffer(
        static_cast<size_t>(kv_heads * capacity * dim * kernels::cache_element_bytes(type)),
        device::MemoryClass::state);
    const auto x = random_values(kv_heads * capacity * dim, 5);
    kernels::cache_append({}, {x.data(), kv_heads * dim, capacity, 0, view(buffer)});
    return buffer;
  }
};

struct Data {
  std::vector<Layer> layers;
  std::vector<float> q, y;  // [rows, heads, dim]
  Data(int64_t count, int64_t rows, int64_t positions, CacheType type)
      : q(random_values(rows * heads * dim, 6)), y(q.size()) {
    for (int64_t i = 0; i < count; ++i) layers.emplace_back(positions, type);
  }
  void run(int threads, int64_t rows) {
    for (Layer& layer : layers) {
      kernels::attention({.threads = threads},
                         {q.data(), heads * dim, rows, heads, layer.capacity - rows,
                          layer.view(layer.keys), layer.view(layer.values), y.data(), heads * dim});
    }
  }
};

void add_decode(CacheType type, int threads) {
  const std::string name = type == CacheType::bf16 ? "bf16" : "fp32";
  add({.name = "attention/decode/" + name + "/threads:" + std::to_string(threads),
       .against = "streaming read",
       .prepare = [type, threads]() -> Comparison {
         const int64_t positions = sized(4096, 32);
         // Caches of more than a gigabyte in all, as for the weights of gemv.
         const int64_t layers = sized(type == CacheType::bf16 ? 80 : 40, 1);
         const auto data = std::make_shared<Data>(layers, 1, positions, type);
         std::vector<std::span<const std::byte>> bytes;
         for (const Layer& layer : data->layers) {
           bytes.push_back(layer.keys.bytes());
           bytes.push_back(layer.values.bytes());
         }
         return {[data, threads] { data->run(threads, 1); },
                 [data, bytes, threads] { streaming_read(threads, bytes); }};
       }});
}

void add_prompt(int threads) {
  add({.name = "attention/prefill/fp32/threads:" + std::to_string(threads),
       .against = "sgemm",
       .settle = threads > 1,
       .prepare = [threads]() -> Comparison {
         const int64_t rows = sized(2048, 16), n = sized(1024, 16);
         const auto data = std::make_shared<Data>(1, rows, rows, CacheType::fp32);
         const auto a = std::make_shared<std::vector<float>>(random_values(n * n, 7));
         const auto c = std::make_shared<std::vector<float>>(a->size());
         const double flops = 4.0 * heads * dim * (static_cast<double>(rows) * (rows + 1) / 2);
         return {[data, threads, rows] { data->run(threads, rows); },
                 [a, c, n, threads] {
                   blas_product(threads, n, n, n, a->data(), a->data(), c->data());
                 },
                 flops / (2.0 * static_cast<double>(n * n * n))};
       }});
}

}  // namespace

void add_attention_benchmarks() {
  for (const int threads : thread_counts()) {
    for (const CacheType type : {CacheType::fp32, CacheType::bf16}) add_decode(type, threads);
    add_prompt(threads);
  }
}

}  // namespace qsweep::bench
