// Products of E4M3 codes by cuBLASLt, a scale for each row of either operand.
#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "base/error.hpp"
#include "device/buffer.hpp"
#include "kernels/cuda/blas.hpp"

namespace qsweep::kernels::cuda {
namespace {

void lt_check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const bool memory = status == CUBLAS_STATUS_ALLOC_FAILED;
  throw Error(memory ? ErrorKind::resource : ErrorKind::internal,
              std::string("cuBLASLt refused: ") + what, cublasGetStatusString(status));
}

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* object) const {
    Destroy(object);
  }
};
template <class Handle, auto Destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<Destroy>>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

constexpr size_t workspace_bytes = size_t{32} << 20;
// What cuBLAS asks of E4M3 operands: whole 16-byte vectors.
constexpr int64_t vector_elements = 16;
constexpr uint32_t result_alignment = 16;  // bytes

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, T value) {
  lt_check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
           "an attribute of a product");
}

template <class T>
void prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  lt_check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
           "an attribute of a preference");
}

// The row-major c [rows, cols] is cuBLAS's c^T, so the weights come first.
Description describe(const Fp8Product& p) {
  cublasLtMatmulDesc_t made = nullptr;
  lt_check(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
  Description description(made);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  set(description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
  set(description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
  set(description, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.b_scale);
  set(description, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.a_scale);
  // Sums stay in fp32 instead of the tensor cores' own shorter ones.
  set(description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{0});
  return description;
}

Layout layout(cudaDataType type, int64_t rows, int64_t cols, int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  lt_check(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows),
                                      static_cast<uint64_t>(cols), stride),
           "a matrix");
  return Layout(made);
}

struct Layouts {
  Layout a, b, c;
  explicit Layouts(const Fp8Product& p)
      : a(layout(CUDA_R_8F_E4M3, p.inner, p.cols, p.inner)),
        b(layout(CUDA_R_8F_E4M3, p.inner, p.rows, p.inner)),
        c(layout(p.result == Operand::bf16 ? CUDA_R_16BF : CUDA_R_32F, p.cols, p.rows, p.ldc)) {}
};

// Algorithms by shape, and a workspace a stream. Never destroyed: the driver may be gone before
// static storage is.
class Library {
 public:
  Library() { lt_check(cublasLtCreate(&handle_), "starting"); }

  cublasLtHandle_t handle() const { return handle_; }

  std::optional<cublasLtMatmulAlgo_t> algorithm(const Fp8Product& p) {
    const std::lock_guard lock(mutex_);
    const auto key = std::tuple(p.rows, p.cols, p.inner, p.ldc, p.result);
    const auto found = algorithms_.find(key);
    if (found != algorithms_.end()) return found->second;
    return algorithms_[key] = search(p);
  }

  device::Buffer& workspace(cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    const auto found = workspaces_.find(stream);
    if (found != workspaces_.end()) return found->second;
    return workspaces_
        .try_emplace(stream, workspace_bytes, device::MemoryClass::workspace, device::Place::gpu)
        .first->second;
  }

 private:
  std::optional<cublasLtMatmulAlgo_t> search(const Fp8Product& p) const {
    const Description description = describe(p);
    const Layouts layouts(p);
    cublasLtMatmulPreference_t made = nullptr;
    lt_check(cublasLtMatmulPreferenceCreate(&made), "a preference");
    const Preference preference(made);
    prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    // Results of several linears stand side by side: no more than whole vectors is sure of theirs.
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, result_alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, result_alignment);
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, description.get(), layouts.a.get(), layouts.b.get(),
                                       layouts.c.get(), layouts.c.get(), made, 1, &result, &count);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0) return {};
    return result.algo;
  }

  std::mutex mutex_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, Operand>,
           std::optional<cublasLtMatmulAlgo_t>>
      algorithms_;
  std::map<cudaStream_t, device::Buffer> workspaces_;
};

Library& library() {
  static auto* made = new Library;
  return *made;
}

}  // namespace

bool takes_fp8(const device::Context&, const Fp8Product& p) {
  if (p.inner % vector_elements != 0 || p.cols % vector_elements != 0) return false;
  Fp8Product with_scales = p;  // so that the search describes a product as it will be
  static const float one = 1;
  with_scales.a_scale = with_scales.b_scale = &one;
  return library().algorithm(with_scales).has_value();
}

void multiply(const device::Context& context, const Fp8Product& p) {
  if (p.rows == 0 || p.cols == 0) return;
  const auto algorithm = library().algorithm(p);
  expect(algorithm.has_value(), "cuBLASLt has a kernel for the product");
  device::Buffer& workspace = library().workspace(context.stream);
  const Description description = describe(p);
  const Layouts layouts(p);
  const float one = 1, zero = 0;
  lt_check(cublasLtMatmul(library().handle(), description.get(), &one, p.b, layouts.a.get(), p.a,
                          layouts.b.get(), &zero, p.c, layouts.c.get(), p.c, layouts.c.get(),
                          &*algorithm, workspace.data(), workspace.size(), context.stream),
           "a matrix product");
}

}  // namespace qsweep::kernels::cuda
