// Which linears can be streamed, and how their rows are cut.
#pragma once

#include <optional>

#include "kernels/linear/stream.cuh"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

// Dynamic shared memory: a block has a multiprocessor's 227 KB to itself, of which its static
// memory is part.
constexpr int64_t all_memory = (int64_t{227} << 10) - 2048;

template <class F>
concept Streamable = requires {
  Codes<F>::half;
};

// Words of a lane's chunk: as long as four chunks of a quad lie in one group, at most 16 bytes; 0
// where that cannot be.
int chunk_words(const quant::FormatSpec& spec, int64_t cols);

// Whether scales change along a row.
inline bool grouped_along(const quant::FormatSpec& spec, int64_t cols) {
  return spec.group > 0 && spec.group < cols;
}

// Whether the parts can be multiplied as one: few, of one format and length, and with a gate one
// matrix with both halves or two alike.
bool side_by_side(const LinearsArgs& args);
// Places them so, with a gate as its two halves; the columns of y.
int64_t place_segments(const LinearsArgs& args, Segment (&segments)[most_segments], int& count);

// One for each multiprocessor, as long as there are outputs for them.
int blocks_of(const Stream& p);

// Everything but how rows are cut, or nothing where the linears do not suit.
std::optional<Stream> plan_stream(const device::Context& context, const LinearsArgs& args);

// Counts a strategy that did all parts, and what it rounded.
void count_stream(const device::Context& context, const char* strategy, const LinearsArgs& args,
                  const Stream& p);

// What does not depend on how rows are cut.
struct Beside {
  int slabs, slab_bytes, slab_sums_bytes;
  bool grouped, zeroed;
};

// Cuts rows into pieces, and says how many warps share a stage of them and how memory is divided;
// nothing where not even a few stages fit. It is mostly instructions that take the time: the fewer
// stages a warp has to look at, the better.
std::optional<StreamMemory> cut_rows(Stream& p, const Beside& beside, int bits);

}  // namespace qsweep::kernels::cuda
