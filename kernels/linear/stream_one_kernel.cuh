// The kernel behind linear/stream_one: see stream_one.cuh.
//
// Instructions that every warp needs once cost as much as those for 1 KB of weights each, so that
// there are few warps, and few instructions before the input is there and behind the last product.
#pragma once

#include "kernels/linear/stream_one_feed.cuh"
#include "kernels/linear/stream_one_input.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {

// A lane (g = lane / 4, t = lane % 4) holds 16 bytes of the left operand's rows g and g + 8, which
// are rows of W of the same phase, and x for this phase (integers: its digit g / 2), too.
template <class F, bool Grouped>
struct OneMultiplier {
  static constexpr bool integers = IntegerCodes<F>::any;
  using Number = std::conditional_t<integers, int, float>;
  static constexpr int columns = slab_columns<F>;
  static constexpr int x_slab_bytes = columns * (integers ? 1 : 2);  // of a digit
  static constexpr int vectors = x_slab_bytes / 64;                  // of a lane
  // More than one chain of products keeps the tensor cores from waiting for each sum.
  static constexpr int chains = 2;

  const OneRow& p;
  const OneRing& ring;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, g = lane / 4, t = lane % 4;
  const int phases = 1 << p.phases_log2, phase = g & (phases - 1);
  const int rows[2] = {g >> p.phases_log2, (g + 8) >> p.phases_log2};  // of the pass
  const int sharers = 1 << p.sharers_log2;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int groups = one_multipliers >> p.sharers_log2, group = warp >> p.sharers_log2;
  const int member = warp & (sharers - 1);
  const int steps = p.line_bytes / slab_bytes >> p.phases_log2;
  const uint32_t x;  // of the lane's first slab

  __device__ OneMultiplier(const OneRow& job, const OneRing& r, uint32_t staged)
      : p(job),
        ring(r),
        x(staged + (integers ? g / 2 * job.cols : 0) +
          (g & ((1 << job.phases_log2) - 1)) * x_slab_bytes + t * 16) {}

  struct Sums {
    Number chain[chains][4] = {};
    // Of left row g (i = 0) or g + 8 with the column of its phase, where this lane has it: integers
    // have a digit in each lane.
    __device__ float value(int i, int phase) const {
      Number of[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) of[k] = chain[0][2 * i + k] + chain[1][2 * i + k];
      return static_cast<float>(phase % 2 == 0 ? of[0] : of[1]);
    }
  };

  // One slab of each left row, and what goes with it.
  struct Step {
    uint32_t words[2][4], x[vectors][4];
    float scale[2];
  };
  struct StageAddresses {
    uint32_t upper, lower, scales;  // of the lane's first slab
  };
  __device__ Step load(const StageAddresses& from, int step) const {
    Step loaded;
    const int slab = step << p.phases_log2;
    load_shared(from.upper + slab * slab_bytes, loaded.words[0]);
    load_shared(from.lower + slab * slab_bytes, loaded.words[1]);
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      load_shared(x + slab * x_slab_bytes + (v ^ (phase & (vectors - 1))) * 64, loaded.x[v]);
    }
    if constexpr (Grouped) {
      const uint32_t scales = from.scales + (slab << p.pass_log2) * 4;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        loaded.scale[i] = __uint_as_float(load_shared(scales + rows[i] * 4));
      }
    }
    return loaded;
  }
  __device__ static void multiply(const Step& step, Sums& sums) {
    const auto& w = step.words;
    if constexpr (integers) {
      using Code = IntegerCodes<F>;
#pragma unroll
      for (int i = 0; i < 4; i += Code::words_a_product) {
        const int product = i / Code::words_a_product, at = product % 2 * 2;
        const auto& b = step.x[product / 2];
        multiply_add_16x8x32(sums.chain[product % chains], Code::first(w[0] + i),
                             Code::first(w[1] + i), Code::second(w[0] + i), Code::second(w[1] + i),
                             b[at], b[at + 1]);
      }
    } else {
      using Code = Codes<F>;
#pragma unroll
      for (int i = 0; i < 4; i += Code::words_a_unit) {
        const auto upper = Code::decode(w[0] + i, false, 0, nullptr);
        const auto lower = Code::decode(w[1] + i, false, 0, nullptr);
        const int product = i / Code::words_a_unit, at = product % 2 * 2;
        const auto& b = step.x[product / 2];
        multiply_add_16x8x16<Code::half>(sums.chain[product % chains], upper.value[0][0],
                                         lower.value[0][0], upper.value[0][1], lower.value[0][1],
                                         b[at], b[at + 1]);
      }
    }
  }

  // This warp's slabs of a stage that is full -> sums of rows[0] and rows[1].
  __device__ void multiply_stage(int slot, float (&total)[2]) const {
    const uint32_t codes = ring.stage(slot) + phase * slab_bytes + t * 16;
    const StageAddresses from{codes + rows[0] * p.line_bytes, codes + rows[1] * p.line_bytes,
                              ring.scales(slot) + ((phase << p.pass_log2) * 4)};
    Sums all;
    Step next = load(from, min(member, steps - 1));
#pragma unroll 2
    for (int step = member; step < steps; step += sharers) {
      const Step now = next;
      next = load(from, min(step + sharers, steps - 1));
      if constexpr (Grouped) {
        Sums sums;
        multiply(now, sums);
#pragma unroll
        for (int i = 0; i < 2; ++i) total[i] += sums.value(i, phase) * now.scale[i];
      } else {
        multiply(now, all);
      }
    }
    if constexpr (!Grouped) {
#pragma unroll
      for (int i = 0; i < 2; ++i) total[i] = all.value(i, phase);
    }
  }

  // The sums of a stage, over digits -> [row of the pass][sharer][phase].
  __device__ void leave(const float (&total)[2], float* lines) const {
    float sum[2] = {total[0], total[1]};
    if constexpr (integers) {
      const float power = __uint_as_float((127 + 8 * t) << 23);  // 256^t
#pragma unroll
      for (int i = 0; i < 2; ++i) sum[i] *= power;
#pragma unroll
      for (int step = 1; step < 4; step *= 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) sum[i] += __shfl_xor_sync(0xFFFFFFFFu, sum[i], step);
      }
    }
    if (t != (integers ? 0 : phase / 2)) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      lines[(((rows[i] << p.sharers_log2) + member) << p.phases_log2) + phase] = sum[i];
    }
  }

  // This group's stages among `count` passes; each warp of a group leaves a line for each pass.
  __device__ void multiply_passes(int first, int count, int& slot, uint32_t& lap,
                                  float* lines) const {
    for (int pass = first; pass < first + count; ++pass) {
      if ((pass & (groups - 1)) == group) {
        wait_for_phase(ring.full(slot), lap);
        float total[2] = {0, 0};
        multiply_stage(slot, total);
        __syncwarp();
        arrive(ring.empty(slot));
        leave(total, lines + (pass - first << p.sharers_log2) * pass_rows);
      }
      ring.advance(slot, lap);
    }
  }
};

// One output of a few passes, and what goes into it beside the sum, fetched before that is there.
template <class F, bool Grouped>
struct OneOutput {
  bool real;
  int line, row, other_row;  // its pass; rows of that, the second for the other half of a gate
  float* y = nullptr;
  float before = 0;                       // what y held
  float scale[2] = {1, 1}, bias[2] = {};  // the second for the other half of a gate

  // That of this thread; the passes begin with `first`.
  __device__ OneOutput(const OneRow& p, const OneShare& share, int first) {
    const int outputs = p.outputs_of_pass_log2(), mine = static_cast<int>(threadIdx.x);
    line = mine >> outputs;
    row = mine & ((1 << outputs) - 1);
    other_row = row + (1 << outputs);
    const int output = share.first + (first << outputs) + mine;
    real = line < p.together && output < share.end;
    if (!real) return;
    y = p.y + output;
    if (p.gated()) {
      fetch(p, p.segments[0], p.segments[0].first + output, 0);
      fetch(p, p.segments[1], p.segments[1].first + output, 1);
      return;
    }
    const int k = p.segment_of(output);
    fetch(p, p.segments[k], p.segments[k].first + output - p.segments[k].column, 0);
  }
  __device__ void fetch(const OneRow& p, const OneSegment& segment, int row_of_matrix, int which) {
    if constexpr (F::scaled && !Grouped) {
      const ScaleView view{p.codec, segment.scales, 0, 0, p.scale_bits, p.mantissa_bits};
      scale[which] = view(p.groups == 0 ? 0 : row_of_matrix);
    }
    if (segment.bias != nullptr) bias[which] = segment.bias[row_of_matrix];
  }
  // Behind wait_for_previous().
  __device__ void fetch_before(const OneRow& p) {
    if (real && p.finish == Finish::residual) before = *y;
  }

  __device__ float product(const OneRow& p, const float* lines, int at, float factor,
                           int which) const {
    const int each = 1 << p.phases_log2 << p.sharers_log2;  // a multiple of 4
    const auto* from =
        reinterpret_cast<const float4*>(lines + (line << p.sharers_log2) * pass_rows + at * each);
    float sum = 0;
#pragma unroll 1
    for (int k = 0; k < each / 4; ++k) {
      const float4 four = from[k];
      sum += (four.x + four.y) + (four.z + four.w);
    }
    return stored(device::Compute::bf16, sum * factor * scale[which] + bias[which]);
  }
  __device__ void finish(const OneRow& p, const float* lines, float factor) const {
    constexpr auto bf16 = device::Compute::bf16;
    if (!real) return;
    float value = product(p, lines, row, factor, 0);
    if (p.finish == Finish::residual) {
      value = stored(bf16, before + value);
    } else if (p.finish == Finish::gate) {
      const float up = product(p, lines, other_row, factor, 1);
      value = stored(bf16, stored(bf16, silu(value)) * up);
    }
    *y = value;
  }
};

// What the multiplying warps do. All that does not ask for the input is made out before the wait
// for it, where it costs no time.
template <class F, bool Grouped, int Vectors>
__device__ void multiply_one(const OneRow& p, const OneRing& ring, unsigned char* memory,
                             OneMagnitude* scratch) {
  const OneStaging<F, Vectors> staging(p);
  const OneShare share(p);
  OneOutput<F, Grouped> mine(p, share, 0);
  const uint32_t staged = shared_address(memory + p.staged);
  const OneMultiplier<F, Grouped> kernel(p, ring, staged);
  auto* const lines = reinterpret_cast<float*>(memory + p.lines);
  const int half_lines = p.together * pass_rows << p.sharers_log2;
  wait_for_previous();
  float factor = staging.run(staged, scratch);
  mine.fetch_before(p);
  if constexpr (IntegerCodes<F>::any) factor /= IntegerCodes<F>::times;
  sync_threads(one_multiplier_threads);
  int slot = 0;
  uint32_t lap = 0;
  for (int first = 0, half = 0;; half ^= 1) {
    // Who is late still reads the other half.
    float* const here = lines + half * half_lines;
    kernel.multiply_passes(first, min(p.together, share.passes - first), slot, lap, here);
    sync_threads(one_multiplier_threads);
    mine.finish(p, here, factor);
    first += p.together;
    if (first >= share.passes) return;
    mine = OneOutput<F, Grouped>(p, share, first);
    mine.fetch_before(p);
  }
}

constexpr int one_threads(bool grouped) {
  return (one_multipliers + one_copiers + (grouped ? one_decoders : 0)) * warp_size;
}

// The barriers, by a lane of each warp: they are made one after another.
template <bool Grouped>
__device__ void start_ring(const OneRow& p, const OneRing& ring) {
  if (threadIdx.x % warp_size != 0) return;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  constexpr int warps = one_threads(Grouped) / warp_size;
  if (Grouped && warp == warps - 1) start_barrier(ring.raw_there(), 1);
  for (int slot = warp; slot < p.stages; slot += warps) {
    // Every lane arrives: that costs no more than one, and racecheck sees the order.
    start_barrier(ring.full(slot), 1 + (Grouped ? warp_size : 0));
    start_barrier(ring.empty(slot), warp_size << p.sharers_log2);
  }
  publish_barriers();
}

template <class F, bool Grouped, int Vectors>
__global__ void __launch_bounds__(one_threads(Grouped), 1)
    stream_one(const __grid_constant__ OneRow p) {
  __shared__ OneMagnitude scratch[one_multipliers];
  auto* memory = shared_memory<unsigned char>();
  const OneRing ring{shared_address(memory), p};
  start_ring<Grouped>(p, ring);
  let_next_start();
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const uint32_t raw = shared_address(memory + p.raw);
  if (warp < one_multipliers) {
    multiply_one<F, Grouped, Vectors>(p, ring, memory, scratch);
  } else if (warp < one_multipliers + one_copiers) {
    OneCopier<Grouped>(p, ring).run(warp - one_multipliers, raw);
  } else if constexpr (Grouped) {
    OneDecoder(p, ring).run(warp - one_multipliers - one_copiers, raw);
  }
}

}  // namespace qsweep::kernels::cuda
