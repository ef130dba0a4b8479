// Attention of new rows, from their projection on:
//   heads are made ready and placed (heads/heads.hpp), then y = attention
//   (attention/attention.hpp).
// By definition what place_heads() and attention() give one after another, with their rounding,
// bytes and bounds. On the GPU one row, a decoding step, is one kernel: attend/decode_cluster.
#pragma once

#include "kernels/heads/heads.hpp"

namespace qsweep::kernels {

struct AttendArgs {
  HeadsArgs heads;  // its qkv may be changed
  float* y;         // [rows, heads, D], row stride ldy
  int64_t ldy;
  // GPU: the cache's earlier rows, and `position`, were written by kernels that had ended when the
  // one in front of this was started. They may then be read while that one still runs.
  bool settled = false;
};

void attend(const device::Context& context, const AttendArgs& args);

namespace cuda {
// One row.
void attend_decode(const device::Context& context, const AttendArgs& args);
}  // namespace cuda

}  // namespace qsweep::kernels
