// The SQNR [dB] that a format can plausibly reach, from the error of its grid (uniform, floating,
// nf4), the crest factors C = absmax / rms that groups of n weights can have, and the error of the
// scale codec. Not covered, and outside the band by intent: scales that saturate their codec.
//
// Flattest plausible weights: uniform, with an effective C^2 = E[w_max^2] / E[w^2] = 3n / (n + 2).
//
// Heaviest plausible tails: the maximum of n draws from Student's t with 3 degrees of freedom grows
// like n^(1/3); C = 2.5 n^(1/3) leaves room for one weight of 30 rms in a row of 2048; no crest is
// above sqrt(n).
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "quant/error_table.hpp"
#include "quant/format/formats.hpp"

namespace qsweep::quant {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
// Groups are finite samples and the error of a coarse grid is not quite uniform: 1.5 dB below; real
// weights may be a little flatter than uniform (crest 1.4 instead of 1.73): 2 dB above.
constexpr double margin_below_db = 1.5, margin_above_db = 2.0;
// Weights rounded to nothing have 0 dB; a working format does better, if only just.
constexpr double floor_db = 0.5;
// dq8: half an interval of the map (0.7 % of the block's largest deviation from the mean, which may
// be several times the mean); the same relative error of a scale is noise of that relative size on
// its weights.
constexpr double dq8_error = 0.07;

double decibel(double ratio) {
  return 10 * std::log10(ratio);
}

// Elements that share a scale. Per tensor the number of rows is not known here; a square matrix
// stands in.
double group_elements(const FormatSpec& spec, int64_t cols) {
  const auto width = static_cast<double>(cols);
  if (spec.group == per_channel) return width;
  if (spec.group == per_tensor) return width * width;
  const auto group = static_cast<double>(spec.group);
  return spec.id == FormatId::nf4 ? group : std::min(group, width);
}

// (n + 2) / (n - 1): what one exact weight of n gains; a lone weight is exact.
double exact_gain_db(double n) {
  return n > 1 ? decibel((n + 2) / (n - 1)) : infinity;
}

double crest_bound_db(double n) {
  return 20 * std::log10(std::min(std::sqrt(n), 2.5 * std::cbrt(n)));
}

// q steps from 0 to absmax (one q for each end of the band): the error is uniform within a step,
// step^2 / 12, so SQNR = 12 q^2 / C^2 * n / (n - 1), as the largest weight itself lies on the grid.
SqnrBand uniform_band(double steps_low, double steps_high, double n) {
  return {decibel(12 * steps_low * steps_low) - crest_bound_db(n) - margin_below_db,
          decibel(4 * steps_high * steps_high) + exact_gain_db(n) + margin_above_db};
}

// The error at level x is gap(x)^2 / 12; relative to x^2 it is nowhere below 0.0045 (23.4 dB, at
// the gap around 0.44) and at worst 0.0107 (19.7 dB, all weights in the widest gap around 0.85).
// The inner gaps are finer than 2/15, so heavy tails cost no more than on a uniform grid of q
// = 7.5.
SqnrBand nf4_band(double n) {
  const double tails = uniform_band(7.5, 7.5, n).low_db;
  return {std::min(19.7 - margin_below_db, tails), 23.4 + exact_gain_db(n) + margin_above_db};
}

// m mantissa bits: the step is 2^-m of the power of two below |w|, so SQNR lies between 12 * 4^m
// (all mantissas near 1) and four times that (near 2).
SqnrBand floating_band(int mantissa_bits, double n) {
  const double low = decibel(12 * std::pow(4.0, mantissa_bits));
  return {low - margin_below_db, low + decibel(4) + exact_gain_db(n) + margin_above_db};
}

// Checkpoints hold bf16 or fp16, so storing them again may be exact.
SqnrBand raw_band(int mantissa_bits) {
  return {floating_band(mantissa_bits, 2).low_db, infinity};
}

// Relative errors of a coded scale.
struct ScaleError {
  double down = 0, up = 0;
  double noise = 0;  // either way, and unknown to the codes
};

ScaleError e5m_error(const ScaleCodec& codec) {
  const double ulp = std::pow(2.0, -codec.mantissa_bits);
  switch (codec.rounding) {
    case ScaleRounding::up:
      return {0, ulp, 0};
    case ScaleRounding::published:
      if (codec.mantissa_bits == 0) return {0.5, 0, 0};
      return {ulp / 2, ulp / 2, 0};
    // At K = 0 the tie of 1.5 goes to 1 (a third less) or to 2 (a third more).
    case ScaleRounding::nearest:
      return {codec.mantissa_bits == 0 ? 1.0 / 3 : ulp / 2, ulp / 2, 0};
  }
  return {};
}

ScaleError scale_error(const ScaleCodec& codec) {
  switch (codec.id) {
    case ScaleCodecId::none:
    case ScaleCodecId::fp32:
      return {};
    case ScaleCodecId::fp16:
      return {0x1p-11, 0x1p-11, 0};
    case ScaleCodecId::bf16:
      return {0x1p-8, 0x1p-8, 0};
    case ScaleCodecId::e5m:
      return e5m_error(codec);
    case ScaleCodecId::dq8:
      return {0, 0, dq8_error};
  }
  return {};
}

// A scale rounded down by at most d clips the largest weights by at most that fraction of
// themselves (error d^2 of the energy; (2d)^2 for asymmetric grids, which lose it all at one end)
// and makes steps finer by 1 - d; one rounded up by at most u makes them coarser by 1 + u.
SqnrBand with_scale_error(const FormatSpec& spec, SqnrBand band, const ScaleError& error) {
  const double clipped = std::min(1.0, spec.symmetric ? error.down : 2 * error.down);
  const double coarse = std::pow(10.0, -(band.low_db - 20 * std::log10(1 + error.up)) / 10);
  band.low_db = -decibel(coarse + clipped * clipped + error.noise * error.noise);
  band.high_db += 20 * std::log10(1 / (1 - error.down));
  return band;
}

}  // namespace

SqnrBand sqnr_band(const FormatSpec& spec, int64_t cols) {
  expect(cols > 0 && spec_problem(spec).empty(), "a band is asked for a spec that can be packed");
  const double n = group_elements(spec, cols);
  SqnrBand band{};
  switch (spec.id) {
    case FormatId::fp32:
      return raw_band(23);
    case FormatId::fp16:
      return raw_band(10);
    case FormatId::bf16:
      return raw_band(7);
    case FormatId::fp8_e4m3:
      band = floating_band(3, n);
      break;
    case FormatId::nf4:
      band = nf4_band(n);
      break;
    case FormatId::int8:
    case FormatId::int4: {
      // Asymmetric: 2^b - 1 steps span max - min, which is at most 2 absmax and, as weights of both
      // signs occur in a group, taken to be at least 1.5 absmax.
      const int bits = code_bits(spec.id);
      const double symmetric_steps = (1 << (bits - 1)) - 1, all_steps = (1 << bits) - 1;
      band = spec.symmetric ? uniform_band(symmetric_steps, symmetric_steps, n)
                            : uniform_band(all_steps / 2, all_steps / 1.5, n);
      break;
    }
  }
  band = with_scale_error(spec, band, scale_error(spec.scale));
  band.low_db = std::max(band.low_db, floor_db);
  return band;
}

}  // namespace qsweep::quant
