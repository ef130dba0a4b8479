// The inner loops of the CPU kernels: dot products of fp32 vectors with stored rows, weighted sums
// of rows, exp and silu, for the instruction sets a CPU may have; the best one it has is chosen
// once at run time. Lanes accumulate in fp32 in a fixed order: the bits depend on the instruction
// set and the shape alone, never on threads.
//
//   dot    sum_i a[i] b[i]
//   dot_*  sum_g scale[g] sum_{i in g} (level(code[i]) - zero[g]) x[i]
// |error| <= (n / lanes + 8) 2^-24 sum |a b| for each of them.
#pragma once

#include <cstdint>
#include <vector>

namespace qsweep::kernels {

// A row of group-scaled codes.
struct GroupedRow {
  const uint8_t*
      codes;  // 8-bit codes: those of this row. 4-bit codes: the byte array that `first` counts in
  int64_t first = 0;  // 4-bit only: index of the row's first code in the array
  int64_t n = 0;      // codes of the row
  int64_t group = 0;  // codes sharing a scale
  int64_t head = 0;   // codes of the first group that lie before this row (nf4 blocks ignore rows)
  const float* scales;            // one a group the row touches
  const float* zeros = nullptr;   // the same for zero points, in code units; null: none
  const float* levels = nullptr;  // 4-bit only: value of each of the 16 codes
  bool high_first = false;        // 4-bit only: even code in the high nibble
};

struct RowOps {
  const char* isa;
  float (*dot_fp32)(const float* a, const float* x, int64_t n);
  float (*dot_bf16)(const uint16_t* a, const float* x, int64_t n);
  float (*dot_fp16)(const uint16_t* a, const float* x, int64_t n);
  float (*dot_int8)(const GroupedRow& row, const float* x);
  float (*dot_fp8_e4m3)(const GroupedRow& row, const float* x);  // codes without NaN
  float (*dot_4bit)(const GroupedRow& row, const float* x);
  // The same, several times faster, where row.n, group, head and first are multiples of
  // split_block: x comes from split_pairs, so that the low and the high nibbles of consecutive
  // bytes each meet consecutive x and no code has to change its lane.
  float (*dot_4bit_split)(const GroupedRow& row, const float* split);
  // split: each block of split_block values of x, those of the low nibbles first; n a multiple of
  // it.
  void (*split_pairs)(const float* x, int64_t n, bool high_first, float* split);
  int64_t split_block;  // values: twice the lanes
  // out[t] = scale * dot(a[t], x) for rows a [count, n], row stride n: the scores of attention.
  void (*dots_fp32)(const float* a, int64_t count, const float* x, int64_t n, float scale,
                    float* out);
  void (*dots_bf16)(const uint16_t* a, int64_t count, const float* x, int64_t n, float scale,
                    float* out);
  // y[i] += sum_t p[t] v[t, i] for rows v [count, n], row stride n: its weighted values.
  // |error| <= (count + 2) 2^-24 (|y| + sum |p v|).
  void (*weigh_fp32)(const float* p, const float* v, int64_t count, float* y, int64_t n);
  void (*weigh_bf16)(const float* p, const uint16_t* v, int64_t count, float* y, int64_t n);
  // x[i] = exp(x[i] - max x), and the sum of these. Each is within 6 * 2^-24 of itself once
  // x[i] - max x is rounded, or 0 below e^-86.5; the sum within 24 * 2^-24 of the sum of them.
  double (*exp_from_max)(float* x, int64_t n);
  // y[i] = x[i] / (1 + exp(-x[i])), within 10 * 2^-24 |y|; 0 below -86.5. y may be x.
  void (*silu)(const float* x, float* y, int64_t n);
};

const RowOps& row_ops();                   // the best that this CPU runs
std::vector<const RowOps*> all_row_ops();  // every one that this CPU runs, for tests

}  // namespace qsweep::kernels
