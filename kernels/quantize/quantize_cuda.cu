// Extremes of all groups (a warp a piece) -> exact scales -> coded scales -> zero points -> codes
// (a thread a packed byte). Everything that rounds is a function of src/quant/format, so the bytes
// are the host's. Maxima are taken of the bits of magnitudes, by integer atomics: no order matters.
#include <array>
#include <bit>
#include <limits>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/quantize/quantize_cuda.cuh"
#include "quant/format/rtn.hpp"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;
using device::Context;
using quant::FormatId;
using quant::FormatSpec;

constexpr int threads = quantize_threads;
constexpr int64_t warps = threads / warp_size;

// Indices of the first weight that is refused, and of the first that its raw format cannot hold.
struct Faults {
  static constexpr unsigned long long none = std::numeric_limits<unsigned long long>::max();
  unsigned long long refused = none, not_storable = none;
};

// Bits of the largest positive and the largest negative weight's magnitude [groups.count()].
struct Extremes {
  uint32_t* high;
  uint32_t* low;
};

__global__ void find_extremes(RawView w, Pieces pieces, int64_t count, Extremes extremes,
                              Faults* faults) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size;
  if (i >= count) return;
  const Pieces::Piece piece = pieces(i);
  const int64_t line = piece.line * pieces.groups.width;
  uint32_t high = 0, low = 0;
  for (int64_t at = piece.begin + threadIdx.x % warp_size; at < piece.end; at += warp_size) {
    const float value = w(line + at);
    const uint32_t magnitude = format::magnitude_bits(value);
    if (format::is_refused(magnitude)) {
      atomicMin(&faults->refused, static_cast<unsigned long long>(line + at));
    }
    uint32_t& side = value < 0 ? low : high;
    side = side > magnitude ? side : magnitude;
  }
  high = __reduce_max_sync(0xFFFFFFFFu, high);
  low = __reduce_max_sync(0xFFFFFFFFu, low);
  if (threadIdx.x % warp_size != 0) return;
  const int64_t group = pieces.groups.index(piece.line, piece.group);
  atomicMax(&extremes.high[group], high);
  atomicMax(&extremes.low[group], low);
}

__device__ int64_t this_thread() {
  return int64_t{blockIdx.x} * threads + threadIdx.x;
}

__global__ void exact_scales(Extremes extremes, int64_t count, bool symmetric, float range,
                             float* scales) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i >= count) return;
  const auto high = std::bit_cast<float>(extremes.high[i]);
  const auto low = std::bit_cast<float>(extremes.low[i]);
  const float extent = symmetric ? (high > low ? high : low) : high + low;
  scales[i] = format::exact_scale(extent, range);
}

template <class Codec, class Stored>
__global__ void code_raw_scales(const float* scales, int64_t count, Stored* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i < count) out[i] = Codec::encode_one(scales[i]);
}

// A thread puts one byte of the bit stream together from the codes that reach into it.
__global__ void code_e5m_scales(const float* scales, int64_t count, quant::ScaleCodec codec,
                                int width, int64_t bytes, uint8_t* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i >= bytes) return;
  uint32_t byte = 0;
  for (int64_t at = i * 8 / width; at < count && at * width < (i + 1) * 8; ++at) {
    const uint32_t code =
        format::ScaleE5m::encode_one(scales[at], codec.mantissa_bits, codec.rounding);
    const auto shift = static_cast<int>(at * width - i * 8);
    byte |= shift >= 0 ? code << shift : code >> -shift;
  }
  out[i] = static_cast<uint8_t>(byte);
}

// The mean is defined as a sum in order, so one thread adds while the block fetches what comes
// next.
__global__ void mean_of_scales(const float* scales, int64_t count, float* mean) {
  wait_for_previous();
  let_next_start();
  constexpr int64_t tile = 2048;
  __shared__ float tiles[2][tile];
  double sum = 0;
  for (int64_t begin = 0, turn = 0; begin < count; begin += tile, turn ^= 1) {
    const int64_t n = count - begin < tile ? count - begin : tile;
    for (int64_t i = threadIdx.x; i < n; i += threads) tiles[turn][i] = scales[begin + i];
    __syncthreads();
    if (threadIdx.x != 0) continue;
#pragma unroll 16
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(tiles[turn][i]);
  }
  if (threadIdx.x == 0) *mean = static_cast<float>(sum / static_cast<double>(count));
}

__device__ void store_unaligned(uint8_t* to, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int i = 0; i < 4; ++i) to[i] = static_cast<uint8_t>(bits >> (8 * i));
}

// A block codes the scales of one block of dq8.
__global__ void code_dq8_scales(const float* scales, int64_t count, const float* mean,
                                uint8_t* out) {
  static_assert(threads == format::dq8_block);
  wait_for_previous();
  let_next_start();
  __shared__ float scratch[warps];
  const int64_t i = this_thread();
  const float offset = *mean;
  const float scale = i < count ? scales[i] : offset;
  const float absmax = over_block(fabsf(scale - offset), scratch, Larger{});
  if (i < count) {
    out[i] = format::ScaleDq8::encode_one(format::ScaleDq8::normalized(scale, offset, absmax),
                                          &dynamic_map[0]);
  }
  if (threadIdx.x != 0) return;
  store_unaligned(out + count + 4 * int64_t{blockIdx.x}, absmax);
  if (blockIdx.x == 0) store_unaligned(out + count + 4 * int64_t{gridDim.x}, offset);
}

__global__ void decode_scales(ScaleView coded, int64_t count, float* scales) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i < count) scales[i] = coded(i);
}

// Element `at` of `n` in a line of 4-bit codes: at its place in the byte; the padding is 0.
template <class F, class Code>
__device__ uint8_t pair_of(int64_t first, int64_t n, Code code) {
  const uint32_t a = code(first), b = first + 1 < n ? code(first + 1) : 0;
  return static_cast<uint8_t>(F::high_first ? a << 4 | b : a | b << 4);
}

// Byte `i` of lines of `line_bytes` bytes, each of `n` codes.
template <class F, class Code>
__device__ uint8_t packed_byte(int64_t i, int64_t line_bytes, int64_t n, Code code) {
  const int64_t line = i / line_bytes, at = i % line_bytes;
  const auto in_line = [&](int64_t element) { return code(line, element); };
  if constexpr (F::bits == 8) return static_cast<uint8_t>(in_line(at));
  return pair_of<F>(2 * at, n, in_line);
}

template <class F>
__global__ void pack_zeros(Extremes extremes, const float* scales, format::Groups groups,
                           int64_t bytes, uint8_t* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i >= bytes) return;
  out[i] = packed_byte<F>(i, groups.zero_line_bytes, groups.per_line, [&](int64_t line, int64_t g) {
    const int64_t group = groups.index(line, g);
    return format::zero_point<F>(-std::bit_cast<float>(extremes.low[group]), scales[group]);
  });
}

template <class F>
__global__ void pack_codes(RawView w, const float* scales, PackedView packed, int64_t bytes,
                           uint8_t* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i >= bytes) return;
  const format::Groups& groups = packed.groups;
  out[i] = packed_byte<F>(i, groups.line_bytes, groups.width, [&](int64_t line, int64_t at) {
    const int64_t g = at / groups.size;
    const float normalized = w(line * groups.width + at) / scales[groups.index(line, g)];
    if constexpr (F::integer) {
      if (packed.asymmetric) return F::encode_unsigned(normalized, packed.zeros(line, g));
    }
    return F::encode(normalized);
  });
}

template <class F, class Stored>
__global__ void store_raw(RawView w, int64_t count, Stored* out, Faults* faults) {
  wait_for_previous();
  let_next_start();
  const int64_t i = this_thread();
  if (i >= count) return;
  const uint32_t code = F::encode(w(i));
  if (!isfinite(F::level(code))) {
    atomicMin(&faults->not_storable, static_cast<unsigned long long>(i));
  }
  out[i] = static_cast<Stored>(code);
}

// What one call works with on the GPU.
struct Work {
  const Context& context;
  const FormatSpec& spec;
  RawView w;
  PackedMatrix& packed;
  format::Groups groups;
  Buffer extremes, scales, faults;  // [2, count], [count], [1]

  Work(const Context& c, const PackedMatrix& weights, PackedMatrix& result)
      : context(c),
        spec(result.spec),
        w(raw_view(weights)),
        packed(result),
        groups(format::groups_of(result.spec, result.rows, result.cols)),
        extremes(scratch(groups.count() * 2 * 4)),
        scales(scratch(groups.count() * 4)),
        faults(scratch(sizeof(Faults))) {
    clear(extremes, 0);
    clear(faults, 0xFF);  // Faults::none
  }

  static Buffer scratch(int64_t bytes) {
    return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
  }
  void clear(Buffer& buffer, int byte) const {
    device::cuda_check(cudaMemsetAsync(buffer.data(), byte, buffer.size(), context.stream),
                       "clearing memory");
  }
  Extremes sides() { return {extremes.as<uint32_t>(), extremes.as<uint32_t>() + groups.count()}; }
  // A thread for each of `count`.
  template <class... P, class... A>
  void each(int64_t count, void (*kernel)(P...), A... args) const {
    launch(context, kernel, {blocks_for(count, threads), dim3(threads)}, args...);
  }
};

void look_at_all(Work& work) {
  const Pieces pieces = pieces_of(work.spec, work.packed.rows, work.packed.cols);
  launch(work.context, find_extremes, {blocks_for(pieces.count(), warps), dim3(threads)}, work.w,
         pieces, pieces.count(), work.sides(), work.faults.as<Faults>());
}

void code_scales(Work& work) {
  const quant::ScaleCodec codec = work.spec.scale;
  const int64_t count = work.groups.count();
  const auto* exact = work.scales.as<float>();
  auto* out = work.packed.scales.as<uint8_t>();
  switch (codec.id) {
    case ScaleCodecId::fp32:
      work.each(count, code_raw_scales<format::ScaleFp32, uint32_t>, exact, count,
                work.packed.scales.as<uint32_t>());
      break;
    case ScaleCodecId::fp16:
      work.each(count, code_raw_scales<format::ScaleFp16, uint16_t>, exact, count,
                work.packed.scales.as<uint16_t>());
      break;
    case ScaleCodecId::bf16:
      work.each(count, code_raw_scales<format::ScaleBf16, uint16_t>, exact, count,
                work.packed.scales.as<uint16_t>());
      break;
    case ScaleCodecId::e5m: {
      const auto bytes = static_cast<int64_t>(work.packed.scales.size());
      work.each(bytes, code_e5m_scales, exact, count, codec, quant::scale_bits(codec), bytes, out);
      break;
    }
    case ScaleCodecId::dq8: {
      Buffer mean = Work::scratch(sizeof(float));
      launch(work.context, mean_of_scales, {dim3(1), dim3(threads)}, exact, count,
             mean.as<float>());
      work.each(count, code_dq8_scales, exact, count, mean.as<float>(), out);
      break;
    }
    case ScaleCodecId::none:
      expect(false, "a format with scales has a codec for them");
  }
}

template <class F>
void quantize_scaled(Work& work) {
  const int64_t count = work.groups.count();
  float range = F::range;
  if constexpr (F::integer) {
    if (!work.spec.symmetric) range = static_cast<float>(F::max_unsigned);
  }
  auto* scales = work.scales.as<float>();
  work.each(count, exact_scales, work.sides(), count, work.spec.symmetric, range, scales);
  code_scales(work);
  const bool follow_exact = format::visit_scale(
      work.spec.scale.id, [](auto c) { return bool{decltype(c)::codes_follow_exact}; });
  PackedView view = view_of(work.packed);
  if (!follow_exact) work.each(count, decode_scales, view.scale, count, scales);
  if constexpr (F::integer) {
    const auto zeros = static_cast<int64_t>(work.packed.zeros.size());
    if (zeros > 0) {
      work.each(zeros, pack_zeros<F>, work.sides(), scales, work.groups, zeros,
                work.packed.zeros.as<uint8_t>());
    }
  }
  const auto bytes = static_cast<int64_t>(work.packed.codes.size());
  work.each(bytes, pack_codes<F>, work.w, scales, view, bytes, work.packed.codes.as<uint8_t>());
}

template <class F>
void quantize_raw(Work& work) {
  using Stored = std::conditional_t<F::bits == 16, uint16_t, uint32_t>;
  const int64_t elements = work.packed.rows * work.packed.cols;
  work.each(elements, store_raw<F, Stored>, work.w, elements, work.packed.codes.as<Stored>(),
            work.faults.as<Faults>());
}

float value_at(const PackedMatrix& weights, int64_t i) {
  return format::visit_format(weights.spec.id, [&](auto f) {
    using F = decltype(f);
    uint32_t code = 0;
    device::copy_bytes(&code, device::Place::host, weights.codes.data() + i * F::bits / 8,
                       device::Place::gpu, F::bits / 8);
    return F::level(code);
  });
}

void throw_if_faulty(const Work& work, const PackedMatrix& weights) {
  Faults faults;
  device::copy_bytes(&faults, device::Place::host, work.faults.data(), device::Place::gpu,
                     sizeof faults);
  if (faults.refused != Faults::none) {
    const auto i = static_cast<int64_t>(faults.refused);
    quant::throw_bad_weight(i / weights.cols, i % weights.cols, value_at(weights, i));
  }
  if (faults.not_storable != Faults::none) {
    quant::throw_not_storable(work.spec,
                              value_at(weights, static_cast<int64_t>(faults.not_storable)));
  }
}

}  // namespace

RawView raw_view(const PackedMatrix& weights) {
  expect(!quant::has_scales(weights.spec.id), "weights to be quantized have no scales");
  expect(weights.codes.place() == device::Place::gpu, "weights of a GPU op lie on the GPU");
  return {weights.codes.data(), weights.spec.id};
}

Pieces pieces_of(const FormatSpec& spec, int64_t rows, int64_t cols) {
  Pieces pieces{format::groups_of(spec, rows, cols), 1};
  pieces.of_group = tiles(pieces.groups.size, Pieces::longest);
  return pieces;
}

PackedMatrix quantize(const Context& context, const FormatSpec& spec, const PackedMatrix& weights) {
  if (const std::string problem = quant::shape_problem(spec, weights.rows, weights.cols);
      !problem.empty()) {
    throw_invalid("cannot quantize to " + quant::to_string(spec), problem);
  }
  count(context, "quantize/rtn");
  PackedMatrix packed =
      quant::allocate_packed(spec, weights.rows, weights.cols, device::Place::gpu);
  Work work(context, weights, packed);
  look_at_all(work);
  format::visit_format(spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (F::scaled) {
      quantize_scaled<F>(work);
    } else {
      quantize_raw<F>(work);
    }
  });
  throw_if_faulty(work, weights);
  return packed;
}

}  // namespace qsweep::kernels::cuda
