#include "kernels/linear/linear_cuda.cuh"

#include "kernels/common.hpp"

namespace qsweep::kernels::cuda {

void count_strategy(const device::Context& context, const char* strategy,
                    const quant::PackedMatrix& weight, device::KernelCalls* calls) {
  const std::string kernel = linear_kernel_name(strategy, weight.spec);
  count(context, kernel);
  if (calls != nullptr) calls->count(kernel);
}

bool fused_linears(const device::Context& context, const LinearsArgs& args) {
  return stream_one_linears(context, args) || tile_linears(context, args) ||
         stream_linears(context, args) || many_rows_linears(context, args);
}

// One linear without gaps in x and y is linears() of one part.
void linear(const device::Context& context, const LinearArgs& args) {
  if (args.rows == 0) return;
  const bool dense =
      args.rows == 1 || (args.ldx == args.weight->cols && args.ldy == args.weight->rows);
  const LinearPart part{args.weight, args.bias, args.calls};
  LinearsArgs whole{};
  whole.parts = {&part, 1};
  whole.x = args.x;
  whole.rows = args.rows;
  whole.y = args.y;
  if (dense && fused_linears(context, whole)) return;
  if (args.rows <= gemv_rows) {
    linear_gemv(context, args);
  } else {
    linear_cublas(context, args);
  }
}

}  // namespace qsweep::kernels::cuda
