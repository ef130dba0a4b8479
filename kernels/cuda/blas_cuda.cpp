#include <cublas_v2.h>

#include <map>
#include <mutex>
#include <string>

#include "base/error.hpp"
#include "device/buffer.hpp"
#include "kernels/cuda/blas.hpp"

namespace qsweep::kernels::cuda {
namespace {

void blas_check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const bool memory = status == CUBLAS_STATUS_ALLOC_FAILED;
  throw Error(memory ? ErrorKind::resource : ErrorKind::internal,
              std::string("cuBLAS refused: ") + what, cublasGetStatusString(status));
}

// The size that cuBLAS recommends for Hopper.
constexpr size_t workspace_bytes = size_t{32} << 20;

// One handle a stream, with its own workspace. Never destroyed: the driver may be gone before
// static storage is.
struct Handle {
  cublasHandle_t handle = nullptr;
  device::Buffer workspace;

  explicit Handle(cudaStream_t stream)
      : workspace(workspace_bytes, device::MemoryClass::workspace, device::Place::gpu) {
    blas_check(cublasCreate(&handle), "starting");
    blas_check(cublasSetStream(handle, stream), "the stream");
    blas_check(cublasSetWorkspace(handle, workspace.data(), workspace.size()), "its workspace");
    // Without this, parts of a sum may be added up in the type of the result.
    constexpr int mode = CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    blas_check(cublasSetMathMode(handle, static_cast<cublasMath_t>(mode)), "sums in fp32");
  }
};

cublasHandle_t handle_of(const device::Context& context) {
  static auto* mutex = new std::mutex;
  static auto* handles = new std::map<cudaStream_t, Handle>;
  const std::lock_guard lock(*mutex);
  return handles->try_emplace(context.stream, context.stream).first->second.handle;
}

cudaDataType data_type(Operand type) {
  return type == Operand::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

}  // namespace

// cuBLAS thinks in columns: the row-major c [rows, cols] is its c^T, so b comes first.
void multiply(const device::Context& context, const Product& p) {
  if (p.rows == 0 || p.cols == 0 || p.batch == 0) return;
  const cudaDataType type = data_type(p.operand);
  const float zero = 0;
  blas_check(
      cublasGemmStridedBatchedEx(
          handle_of(context), p.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N,
          static_cast<int>(p.cols), static_cast<int>(p.rows), static_cast<int>(p.inner), &p.scale,
          p.b, type, static_cast<int>(p.ldb), p.stride_b, p.a, type, static_cast<int>(p.lda),
          p.stride_a, &zero, p.c, data_type(p.result), static_cast<int>(p.ldc), p.stride_c,
          static_cast<int>(p.batch), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "a matrix product");
}

}  // namespace qsweep::kernels::cuda
