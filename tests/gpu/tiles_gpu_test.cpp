// linear/tiles against the plain reference: tiles and steps that end early, stretches of the line
// that begin and end inside a tile, zero points, several linears side by side.
#include <gtest/gtest.h>

#include "gpu/linear_case.hpp"

namespace qsweep {
namespace {

using device::Compute;
using quant::FormatId;
using quant::FormatSpec;
using quant::ScaleCodecId;
using test::compare;
using test::packed;

// 320 columns: five slabs of 64, the last step has one; 384: three of 128; 1000 rows of W: the last
// tile is short, and with 3072 columns there are fewer tiles than multiprocessors.
TEST(TilesGpu, MatchReference) {
  QSWEEP_NEEDS_GPU();
  const std::vector<FormatSpec> specs = {
      {FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}},
      {FormatId::int4, 128, false, {ScaleCodecId::fp16}},
      {FormatId::int4, 64, true, {ScaleCodecId::fp32}},
      {FormatId::int4, 64, false, {ScaleCodecId::e5m, 3}},
      {FormatId::int4, quant::per_channel, true, {ScaleCodecId::bf16}},
      {FormatId::int4, quant::per_tensor, false, {ScaleCodecId::fp32}},
      {FormatId::nf4, 64, true, {ScaleCodecId::dq8}},
      {FormatId::nf4, 128, true, {ScaleCodecId::fp32}}};
  for (const FormatSpec& spec : specs) {
    test::Allowance allowed(quant::to_string(spec));
    for (const auto& [out, in] :
         {std::pair<int64_t, int64_t>{1, 256}, {70, 320}, {129, 384}, {1000, 3072}}) {
      if (!quant::shape_problem(spec, out, in).empty()) continue;
      const auto w = packed(spec, out, in);
      for (const int64_t rows : {17, 32, 33, 64, 65, 128}) {
        if (out == 1000 && rows % 16 != 0) continue;
        compare(w, rows, Compute::bf16, allowed, test::strategy_of(w, rows));
      }
    }
  }
}

// Up to 16 rows are for linear/stream, but where so many do not fit beside its ring.
TEST(TilesGpu, TakeFewLongRows) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("few long rows");
  const auto w = packed({FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}}, 140, 8192);
  for (const int64_t rows : {12, 16}) compare(w, rows, Compute::bf16, allowed, "tiles");
}

// More tiles than multiprocessors.
TEST(TilesGpu, GoOnFromTileToTile) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("many tiles");
  const auto w = packed({FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}}, 20'000, 256);
  for (const int64_t rows : {20, 40}) compare(w, rows, Compute::bf16, allowed, "tiles");
}

}  // namespace
}  // namespace qsweep
