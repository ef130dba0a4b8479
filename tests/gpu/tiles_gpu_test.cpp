// linear/tiles against the plain reference: tiles and steps that end early, columns shared by the
// blocks of a cluster, several tiles for a block, zero points.
#include <gtest/gtest.h>

#include <tuple>

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
// tile is short, and the columns of each are shared by several blocks.
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
      for (const int64_t rows : {5, 8, 9, 16, 17, 32, 33, 64, 65, 128}) {
        if (out == 1000 && rows != 8 && rows != 16 && rows != 64) continue;
        compare(w, rows, Compute::bf16, allowed, test::strategy_of(w, rows));
      }
    }
  }
}

// Whole tiles for each block: one or two, for some of the blocks fewer than for others, and
// several.
TEST(TilesGpu, GoOnFromTileToTile) {
  QSWEEP_NEEDS_GPU();
  for (const FormatSpec& spec : {FormatSpec{FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}},
                                 FormatSpec{FormatId::nf4, 64, true, {ScaleCodecId::dq8}}}) {
    test::Allowance allowed("many tiles, " + quant::to_string(spec));
    for (const auto& [out, in] :
         {std::pair<int64_t, int64_t>{9000, 640}, {20'000, 256}, {70'001, 128}}) {
      const auto w = packed(spec, out, in);
      for (const int64_t rows : {6, 14, 40}) compare(w, rows, Compute::bf16, allowed, "tiles");
    }
  }
}

// Blocks with more steps than their ring has stages, of one tile and of two (an odd number of steps
// each), for every number of rows that is multiplied at once.
TEST(TilesGpu, GoRoundTheRing) {
  QSWEEP_NEEDS_GPU();
  const FormatSpec e5m5{FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}};
  const FormatSpec zeroed{FormatId::int4, 64, false, {ScaleCodecId::fp16}};
  for (const auto& [spec, out, in] : {std::tuple<FormatSpec, int64_t, int64_t>{e5m5, 140, 65536},
                                      {zeroed, 140, 65536},
                                      {e5m5, 17'000, 1664}}) {
    test::Allowance allowed("round the ring, " + quant::to_string(spec));
    const auto w = packed(spec, out, in);
    for (const int64_t rows : {6, 14, 24, 40}) compare(w, rows, Compute::bf16, allowed, "tiles");
  }
}

TEST(TilesGpu, TakeLongRows) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("long rows");
  const auto w = packed({FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}}, 140, 8192);
  for (const int64_t rows : {7, 16}) compare(w, rows, Compute::bf16, allowed, "tiles");
}

}  // namespace
}  // namespace qsweep
