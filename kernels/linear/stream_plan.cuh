// Which linears can be streamed, and how their rows are cut.
#pragma once

#include <functional>
#include <optional>

#include "kernels/linear/stream.cuh"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

// Dynamic shared memory: a block has a multiprocessor's 227 KB to itself, of which its static
// memory is part.
constexpr int64_t all_memory = (int64_t{227} << 10) - 2048;
// A feeder may not be two rounds of the ring ahead of who empties it.
constexpr int least_stages = feeders, most_stages = 32;

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

// Everything but how rows are cut, or nothing where the linears do not suit.
std::optional<Stream> plan_stream(const device::Context& context, const LinearsArgs& args);

// Cuts a row of `slabs` slabs into pieces of at most `longest` bytes.
void cut_rows(Stream& p, int slabs, int slab_bytes, int longest);

// How many warps share a stage of rows that are cut. With 4-bit codes it is instructions that take
// the time: the fewer stages a warp has to look at, the better.
// `stages`: how many fit beside the sums of so many contributors.
void share_stages(Stream& p, int bits, int blocks, const std::function<int(int)>& stages);

}  // namespace qsweep::kernels::cuda
