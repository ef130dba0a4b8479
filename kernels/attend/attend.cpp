#include "kernels/attend/attend.hpp"

#include "kernels/common.hpp"

namespace qsweep::kernels {

void attend(const device::Context& context, const AttendArgs& args) {
  const HeadsArgs& heads = args.heads;
  if (on_gpu(context) && heads.rows == 1) return cuda::attend_decode(context, args);
  place_heads(context, heads);
  attention(context, {heads.qkv, heads.ldqkv, heads.rows, heads.heads, heads.first, heads.keys,
                      heads.values, args.y, args.ldy});
}

}  // namespace qsweep::kernels
