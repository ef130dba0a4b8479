// A build without CUDA: each op refuses the GPU by its name.
#include <string>

#include "base/error.hpp"
#include "kernels/activations/activations.hpp"
#include "kernels/attend/attend.hpp"
#include "kernels/attention/attention.hpp"
#include "kernels/cuda/ceilings.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/heads/heads.hpp"
#include "kernels/linear/linears.hpp"
#include "kernels/logits/logits.hpp"
#include "kernels/packed_hash/packed_hash.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "kernels/token_scores/token_scores.hpp"

namespace qsweep::kernels::cuda {
namespace {

using device::Context;

[[noreturn]] void refuse(const char* op) {
  throw Error(ErrorKind::unavailable, std::string(op) + " has no CUDA kernel in this build",
              "it was built without CUDA", "use --backend cpu, or build with the cuda preset");
}

}  // namespace

double read_rate(const Context&, uint64_t) {
  refuse("read_rate");
}
double matrix_rate(const Context&) {
  refuse("matrix_rate");
}
void round_activations(const Context&, const RoundActivationsArgs&) {
  refuse("round_activations");
}
void attention(const Context&, const AttentionArgs&) {
  refuse("attention");
}
void cache_append(const Context&, const CacheAppendArgs&) {
  refuse("cache_append");
}
void embedding(const Context&, const EmbeddingArgs&) {
  refuse("embedding");
}
void attend_decode(const Context&, const AttendArgs&) {
  refuse("attend");
}
void place_heads(const Context&, const HeadsArgs&) {
  refuse("place_heads");
}
void linear(const Context&, const LinearArgs&) {
  refuse("linear");
}
bool fused_linears(const Context&, const LinearsArgs&) {
  refuse("linears");
}
void argmax_rows(const Context&, const float*, int64_t, int64_t, int32_t*, const StepEnd&) {
  refuse("argmax_rows");
}
void hash_pieces(const Context&, std::span<const HashedPart>, int64_t, std::byte*, int64_t) {
  refuse("hash_pieces");
}
quant::PackedMatrix quantize(const Context&, const quant::FormatSpec&, const quant::PackedMatrix&) {
  refuse("quantize");
}
ErrorSums quantization_error(const Context&, const quant::PackedMatrix&,
                             const quant::PackedMatrix&) {
  refuse("quantization_error");
}
void residual_add(const Context&, const float*, float*, int64_t) {
  refuse("residual_add");
}
void rmsnorm(const Context&, const RmsNormArgs&) {
  refuse("rmsnorm");
}
void rope_table(const Context&, const RopeTableArgs&) {
  refuse("rope_table");
}
void rope(const Context&, const RopeArgs&) {
  refuse("rope");
}
void silu_mul(const Context&, const SiluMulArgs&) {
  refuse("silu_mul");
}
void token_scores(const Context&, const TokenScoresArgs&) {
  refuse("token_scores");
}

}  // namespace qsweep::kernels::cuda
