// The kernel behind linear/stream_one: see stream_one.cuh.
//
// A kernel of a few microseconds runs most of its instructions once or a few times, and those cost
// as much as waiting for memory: loops that are unrolled further take longer, not shorter. So there
// are few warps, few instructions before the first copy and behind the last product, and what a
// stage needs is made out once for all.
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
  static_assert(vectors <= 2);
  // More than one chain of products keeps the tensor cores from waiting for each sum.
  static constexpr int chains = 2;

  const OneRow& p;
  const OneRing& ring;
  const int lane = static_cast<int>(threadIdx.x % warp_size), g = lane / 4, t = lane % 4;
  const int phases = 1 << p.phases_log2, phase = g & (phases - 1);
  const int rows[2] = {g >> p.phases_log2, (g + 8) >> p.phases_log2};  // of the pass
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  const int sharers = 1 << p.sharers_log2, member = warp & (sharers - 1);
  const int steps = p.line_bytes / slab_bytes >> p.phases_log2;
  const int lines_a_pass = pass_rows << p.sharers_log2;

  // Where a lane finds what it multiplies: its first slab of a stage, then further ones.
  struct Place {
    uint32_t codes[2], x, scales[2];
  };
  Place first;  // in a stage at 0
  struct {
    uint32_t codes, x, scales;
  } step_bytes;  // from one step to the next
  // Of two vectors of x: from the first one. Slabs of odd numbers have the second one in front.
  const uint32_t second_vector = phase % 2 == 0 ? 64u : static_cast<uint32_t>(-64);
  uint32_t line[2];  // of rows[0] and rows[1] among those of a pass

  __device__ OneMultiplier(const OneRow& job, const OneRing& r) : p(job), ring(r) {}
  __device__ void find_places(uint32_t staged) {
    const int slab = (member << p.phases_log2) + phase, slabs = sharers << p.phases_log2;
    const int scales = p.line_bytes << p.pass_log2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      first.codes[i] = static_cast<uint32_t>(rows[i] * p.line_bytes + slab * slab_bytes + t * 16);
      first.scales[i] = static_cast<uint32_t>(scales + ((slab << p.pass_log2) + rows[i]) * 4);
      line[i] =
          static_cast<uint32_t>((((rows[i] << p.sharers_log2) + member) << p.phases_log2) + phase);
    }
    first.x = staged + static_cast<uint32_t>((integers ? g / 2 * p.cols : 0) + slab * x_slab_bytes +
                                             t * 16 + (phase & (vectors - 1)) * 64);
    step_bytes.codes = static_cast<uint32_t>(slabs * slab_bytes);
    step_bytes.x = static_cast<uint32_t>(slabs * x_slab_bytes);
    step_bytes.scales = static_cast<uint32_t>(slabs << p.pass_log2) * 4;
    // The compiler would else make all this out anew for each stage.
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      take_as_it_is(first.codes[i]);
      if (Grouped) take_as_it_is(first.scales[i]);
      take_as_it_is(line[i]);
    }
    take_as_it_is(first.x);
    take_as_it_is(step_bytes.x);
    take_as_it_is(step_bytes.codes);
    if (Grouped) take_as_it_is(step_bytes.scales);
  }
  __device__ int group() const {
    return warp >> p.sharers_log2;
  }
  __device__ int groups() const {
    return one_multipliers >> p.sharers_log2;
  }

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
  __device__ Step load(const Place& from) const {
    Step loaded;
    load_shared(from.codes[0], loaded.words[0]);
    load_shared(from.codes[1], loaded.words[1]);
#pragma unroll
    for (int v = 0; v < vectors; ++v) load_shared(from.x + v * second_vector, loaded.x[v]);
    if constexpr (Grouped) {
#pragma unroll
      for (int i = 0; i < 2; ++i) loaded.scale[i] = __uint_as_float(load_shared(from.scales[i]));
    }
    return loaded;
  }
  __device__ void advance(Place& place, uint32_t times) const {
    place.x += times * step_bytes.x;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      place.codes[i] += times * step_bytes.codes;
      place.scales[i] += times * step_bytes.scales;
    }
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
    if (member >= steps) return;
    Place place = first;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      place.codes[i] += ring.stage(slot);
      place.scales[i] += ring.stage(slot);
    }
    Sums all;
    Step loaded = load(place);
#pragma unroll 1
    for (int step = member; step < steps; step += sharers) {
      Sums sums;
      multiply(loaded, Grouped ? sums : all);
      const float scale[2] = {loaded.scale[0], loaded.scale[1]};
      // On its way while sums are waited for; the last step's once more, which costs less than a
      // branch.
      advance(place, step + sharers < steps ? 1u : 0u);
      loaded = load(place);
      if constexpr (Grouped) {
#pragma unroll
        for (int i = 0; i < 2; ++i) total[i] += sums.value(i, phase) * scale[i];
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
    for (int i = 0; i < 2; ++i) lines[line[i]] = sum[i];
  }

  // This group's stages among the passes [begin, end); each warp of a group leaves a line for each.
  __device__ void multiply_passes(int begin, int end, OneTurns& turns, float* lines) const {
#pragma unroll 1
    for (; turns.pass < end; turns.advance()) {
      wait_for_phase(ring.full(turns.slot), turns.lap);
      float total[2] = {0, 0};
      multiply_stage(turns.slot, total);
      __syncwarp();
      arrive(ring.empty(turns.slot));
      leave(total, lines + (turns.pass - begin) * lines_a_pass);
    }
  }
};

// One output of a few passes, and what goes into it beside the sum, fetched before that is there.
template <class F, bool Grouped>
struct OneOutput {
  bool real = false;
  int line = 0;                // its pass
  int row = 0, other_row = 0;  // rows of that, the second for the other half of a gate
  float* y = nullptr;
  float before = 0;                       // what y held
  float scale[2] = {1, 1}, bias[2] = {};  // the second for the other half of a gate

  OneOutput() = default;
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
      fetch(p, 0, output, 0);
      fetch(p, 1, output, 1);
      return;
    }
    const int k = p.segment_of(output);
    fetch(p, k, output - p.segments[k].column, 0);
  }
  __device__ void fetch(const OneRow& p, int k, int output_of_segment, int which) {
    const int row_of_matrix = p.segments[k].first + output_of_segment;
    if constexpr (F::scaled && !Grouped) {
      const ScaleView view{p.codec, p.scales[k], 0, 0, p.scale_bits, p.mantissa_bits};
      scale[which] = view(p.groups == 0 ? 0 : row_of_matrix);
    }
    if (p.bias[k] != nullptr) bias[which] = p.bias[k][row_of_matrix];
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

// What the multiplying warps do. What does not depend on the input is made out while that is on its
// way: in front of the wait for it the kernel in front may have ended already.
template <class F, bool Grouped, int Vectors>
__device__ void multiply_one(const OneRow& p, const OneRing& ring, unsigned char* memory,
                             OneMagnitude* scratch) {
  const OneStaging<F, Vectors> staging(p);
  const OneShare share(p);
  OneOutput<F, Grouped> mine;
  OneMultiplier<F, Grouped> kernel(p, ring);
  const uint32_t staged = shared_address(memory + p.staged);
  auto* const lines = reinterpret_cast<float*>(memory + p.lines);
  const int half_lines = p.together * pass_rows << p.sharers_log2;
  wait_for_previous();
  float factor = staging.run(staged, scratch, [&] {
    mine = OneOutput<F, Grouped>(p, share, 0);
    mine.fetch_before(p);
    kernel.find_places(staged);
  });
  if constexpr (IntegerCodes<F>::any) factor /= IntegerCodes<F>::times;
  sync_threads(one_multiplier_threads);
  OneTurns turns(p, share, kernel.groups(), kernel.group());
  for (int first = 0, half = 0;; half ^= 1) {
    // Who is late still reads the other half.
    float* const here = lines + half * half_lines;
    kernel.multiply_passes(first, min(first + p.together, share.passes), turns, here);
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

// Arrivals at the barrier of a full stage: every lane of a decoding warp arrives, which costs no
// more than one, and racecheck sees the order.
constexpr int one_full_arrivals(bool grouped) {
  return 1 + (grouped ? warp_size : 0);
}

// What the copying warps leave of the barriers, by a lane of each multiplying warp: they are made
// one after another.
template <bool Grouped>
__device__ void make_barriers(const OneRow& p, const OneRing& ring) {
  if (threadIdx.x % warp_size != 0) return;
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  for (int slot = warp; slot < p.stages; slot += one_multipliers) {
    if (slot >= one_copiers) start_barrier(ring.full(slot), one_full_arrivals(Grouped));
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
  const OneStart start{one_threads(Grouped)};
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  if (warp >= one_multipliers && warp < one_multipliers + one_copiers) {
    OneCopier(p, ring).run(warp - one_multipliers, one_full_arrivals(Grouped), start);
    return;
  }
  let_next_start();
  if (warp < one_multipliers) {
    make_barriers<Grouped>(p, ring);
    __syncwarp();
    start.say_rest_made();
    multiply_one<F, Grouped, Vectors>(p, ring, memory, scratch);
  } else if constexpr (Grouped) {
    OneDecoder(p, ring).run(warp - one_multipliers - one_copiers, shared_address(memory + p.raw),
                            start);
  }
}

}  // namespace qsweep::kernels::cuda
