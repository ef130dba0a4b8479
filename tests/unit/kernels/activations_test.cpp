// round_activations() by hand, and against its reference for every format and scale at odd sizes;
// linears() with rounded inputs against products of what the op gives.
#include "kernels/activations/activations.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "kernels/linear/linears.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "unit/kernels/numbers.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using quant::ActivationFormat;
using quant::ActivationId;
using quant::ActivationRounding;
using quant::ActivationScale;
using test::random_values;
using Values = std::vector<float>;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

std::vector<ActivationFormat> all_formats() {
  std::vector<ActivationFormat> formats;
  for (const auto& [id, name] : enum_names<ActivationId>) {
    if (id == ActivationId::none) continue;
    for (const auto& [scale, scale_name] : enum_names<ActivationScale>) {
      formats.push_back({id, scale});
    }
  }
  return formats;
}

// One row.
Values rounded(const ActivationRounding& rounding, Values x) {
  const auto cols = static_cast<int64_t>(x.size());
  Values y(x.size(), -77.0f);
  kernels::round_activations({}, {rounding, x.data(), cols, 1, cols, y.data(), cols});
  return y;
}

struct ByHand {
  ActivationRounding rounding;
  Values x, y;
};

// Scales are powers of two, so every quotient and product is exact.
std::vector<ByHand> by_hand() {
  constexpr auto fp8 = ActivationId::fp8_e4m3;
  constexpr auto int8 = ActivationId::int8;
  constexpr auto int4 = ActivationId::int4;
  constexpr auto token = ActivationScale::token;
  constexpr auto tensor = ActivationScale::tensor;
  return {
      // absmax 127: scale 1, ties to even.
      {{{int8, token}, 0}, {127, -127, 0.5f, 1.5f, -2.5f, 3.49f, 0}, {127, -127, 0, 2, -2, 3, 0}},
      // absmax 3.5: scale 1/2.
      {{{int4, token}, 0}, {3.5f, -3.5f, 0.25f, 0.75f, -1.1f}, {3.5f, -3.5f, 0, 1, -1}},
      // absmax 448: scale 1; 17 lies between 16 and 18, 19 between 18 and 20, -0.0009 is nearest to
      // the smallest subnormal number's zero.
      {{{fp8, token}, 0}, {448, 17, 19, -300, -0.0009f}, {448, 16, 20, -288, -0.0f}},
      // Beyond a calibrated absmax levels saturate; int4 has one level more below zero.
      {{{int8, tensor}, 127}, {500, -500, 127.5f, 1e30f}, {127, -127, 127, 127}},
      {{{int4, tensor}, 7}, {500, -500, 7.5f, -7.6f, 2}, {7, -8, 7, -8, 2}},
      {{{fp8, tensor}, 448}, {1e9f, -1e9f, 460, 4}, {448, -448, 448, 4}},
      // A row of zeros has a scale and stays.
      {{{int8, token}, 0}, {0, 0, 0}, {0, 0, 0}},
      {{{int4, token}, 0}, {0, 0, 0}, {0, 0, 0}},
      {{{fp8, token}, 0}, {0, 0, 0}, {0, 0, 0}},
      // bf16 keeps 8 significant bits, whatever the scale says.
      {{{ActivationId::bf16, token}, 0}, {1.00390625f, 257, -3}, {1, 256, -3}},
  };
}

TEST(Activations, ByHand) {
  for (const ByHand& c : by_hand()) {
    const Values y = rounded(c.rounding, c.x);
    for (size_t i = 0; i < c.x.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(c.y[i]))
          << quant::to_string(c.rounding.format) << " of " << c.x[i] << ": " << y[i] << ", not "
          << c.y[i];
    }
  }
}

// Nothing hides it: a row whose own scale it decides is lost whole, as its products would be.
TEST(Activations, NotANumberStaysOne) {
  for (const ActivationFormat& format : all_formats()) {
    const Values y = rounded({format, 4}, {1, nan, -2, 0.5f});
    const bool own_scale = quant::has_scales(format.id) && format.scale == ActivationScale::token;
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i == 1 || own_scale) << quant::to_string(format) << " " << i;
    }
  }
}

// Rows of very different size, a row of zeros, an outlier.
Values inputs(int64_t rows, int64_t cols) {
  Values x = random_values(rows * cols, 31 + static_cast<uint64_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    const float size = r == 2 ? 0.0f : std::ldexp(1.0f, static_cast<int>(5 * r % 40) - 9);
    for (int64_t c = 0; c < cols; ++c) x[static_cast<size_t>(r * cols + c)] *= size;
  }
  if (rows > 1) x[static_cast<size_t>(cols)] = -900;
  return x;
}

// Both round to the nearest level of scales that differ by fp32 rounding. Near the middle between
// two levels they may take different ones; both are then as far from x, to within the rounding of
// quotient, scale and product.
void compare(const ActivationRounding& rounding, int64_t rows, int64_t cols,
             test::Allowance& allowed) {
  const Values x = inputs(rows, cols);
  const int64_t gap = 3;  // the columns behind a row are none of the op's business
  Values got(static_cast<size_t>(rows * (cols + gap)), -77.0f), expected = x;
  kernels::round_activations({.threads = 2},
                             {rounding, x.data(), cols, rows, cols, got.data(), cols + gap});
  kernels::ref::round_activations({rounding, x.data(), cols, rows, cols, expected.data(), cols});
  const std::string where = std::to_string(rows) + "x" + std::to_string(cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const auto at = static_cast<size_t>(r * cols + c);
      const double exact = x[at], y = got[static_cast<size_t>(r * (cols + gap) + c)];
      const double largest =
          std::max({std::fabs(exact), std::fabs(y), std::fabs(double{expected[at]})});
      allowed.check(std::fabs(y - exact), std::fabs(expected[at] - exact),
                    6 * test::half_ulp * largest, where);
    }
    for (int64_t c = cols; c < cols + gap; ++c) {
      EXPECT_EQ(got[static_cast<size_t>(r * (cols + gap) + c)], -77.0f) << where;
    }
  }
}

TEST(Activations, MatchReferenceForEveryFormat) {
  for (const ActivationFormat& format : all_formats()) {
    test::Allowance allowed(quant::to_string(format) + "/" + std::string(name_of(format.scale)));
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{1, 1}, {1, 37}, {3, 129}, {5, 448}, {9, 3001}}) {
      compare({format, 1.7f}, rows, cols, allowed);
    }
  }
}

// Against goldens/format, which an independent NumPy program wrote from the definitions: bits.
TEST(Activations, Golden) {
  const std::filesystem::path folder =
      std::filesystem::path(QSWEEP_SOURCE_DIR) / "tests/goldens/format";
  const auto goldens = nlohmann::json::parse(read_file(folder / "activations.json", 1 << 20));
  const std::string blob = read_file(folder / "weights.f32", 1 << 22);
  std::map<std::string, nlohmann::json> cases;
  for (const auto& entry : goldens.at("cases")) cases[entry.at("name")] = entry;
  std::set<std::pair<ActivationId, ActivationScale>> covered;
  for (const auto& entry : goldens.at("entries")) {
    const nlohmann::json& one = cases.at(entry.at("case"));
    const int64_t rows = one.at("rows"), cols = one.at("cols");
    Values x(static_cast<size_t>(rows * cols));
    std::memcpy(x.data(), blob.data() + one.at("offset").get<size_t>(), x.size() * sizeof(float));
    const bool tensor = !entry.at("absmax").is_null();
    ActivationRounding rounding;
    rounding.format.id = parse_name<ActivationId>(entry.at("format").get<std::string>()).value();
    rounding.format.scale = tensor ? ActivationScale::tensor : ActivationScale::token;
    rounding.absmax = tensor ? entry.at("absmax").get<float>() : 0.0f;
    kernels::round_activations({}, {rounding, x.data(), cols, rows, cols, x.data(), cols});
    EXPECT_EQ(sha256_hex(std::as_bytes(std::span(x))).substr(0, 16),
              entry.at("values").get<std::string>())
        << entry.dump();
    covered.insert({rounding.format.id, rounding.format.scale});
  }
  for (const ActivationFormat& format : all_formats()) {
    EXPECT_TRUE(covered.contains({format.id, format.scale})) << quant::to_string(format);
  }
}

// Values of a format are its own: rounding them again changes nothing.
TEST(Activations, OfAStaticScaleAreRoundedOnce) {
  for (const ActivationFormat& format : all_formats()) {
    if (format.scale != ActivationScale::tensor) continue;
    const Values once = rounded({format, 2.9f}, random_values(777, 5));
    EXPECT_EQ(rounded({format, 2.9f}, once), once) << quant::to_string(format);
    EXPECT_NE(random_values(777, 5), once) << quant::to_string(format);
  }
}

TEST(Activations, BitsDependNeitherOnThreadsNorOnThePlace) {
  const int64_t rows = 33, cols = 1000;
  const Values x = inputs(rows, cols);
  for (const ActivationFormat& format : all_formats()) {
    Values one(x.size()), many(x.size()), in_place = x;
    const ActivationRounding rounding{format, 1.3f};
    kernels::round_activations({}, {rounding, x.data(), cols, rows, cols, one.data(), cols});
    kernels::round_activations({.threads = 3},
                               {rounding, x.data(), cols, rows, cols, many.data(), cols});
    kernels::round_activations(
        {}, {rounding, in_place.data(), cols, rows, cols, in_place.data(), cols});
    EXPECT_EQ(one, many) << quant::to_string(format);
    EXPECT_EQ(one, in_place) << quant::to_string(format);
  }
}

TEST(Activations, RoundOnlyWhatIsNotRoundedAlready) {
  const ActivationFormat bf16{ActivationId::bf16, {}}, int8{ActivationId::int8, {}};
  EXPECT_FALSE(kernels::rounds({}, {}));
  EXPECT_TRUE(kernels::rounds({}, bf16));
  EXPECT_FALSE(kernels::rounds({.compute = device::Compute::bf16}, bf16));
  EXPECT_TRUE(kernels::rounds({.compute = device::Compute::bf16}, int8));
}

// ---- linears() with rounded inputs

struct Layer {
  quant::PackedMatrix first, second;
  Values norm, bias;
  int64_t in() const { return first.cols; }
  int64_t out() const { return first.rows + second.rows; }
};

Layer make_layer(const quant::FormatSpec& spec, int64_t out, int64_t in) {
  return {test::packed(spec, out, in), test::packed(spec, out, in), random_values(in, 17),
          random_values(out, 19)};
}

// What linears() promises, from its definition: norm in double, rounding by the op, sums in double.
struct Expected {
  Values p;
  std::vector<double> magnitude;  // sum_i |W x| + |b|
};
Expected products(const Layer& layer, const ActivationRounding& rounding, const Values& n,
                  int64_t rows) {
  Values x = n;
  kernels::round_activations(
      {}, {rounding, n.data(), layer.in(), rows, layer.in(), x.data(), layer.in()});
  Expected expected;
  for (int64_t r = 0; r < rows; ++r) {
    for (const quant::PackedMatrix* w : {&layer.first, &layer.second}) {
      Values weights(static_cast<size_t>(w->rows * w->cols));
      quant::dequantize_rows(*w, 0, w->rows, weights.data());
      for (int64_t o = 0; o < w->rows; ++o) {
        double sum = w == &layer.first ? layer.bias[static_cast<size_t>(o)] : 0.0f;
        double magnitude = std::fabs(sum);
        for (int64_t i = 0; i < w->cols; ++i) {
          const double term = static_cast<double>(weights[static_cast<size_t>(o * w->cols + i)]) *
                              x[static_cast<size_t>(r * w->cols + i)];
          sum += term;
          magnitude += std::fabs(term);
        }
        expected.p.push_back(static_cast<float>(sum));
        expected.magnitude.push_back(magnitude);
      }
    }
  }
  return expected;
}

Values run(const device::Context& context, const Layer& layer, const ActivationRounding& rounding,
           const Values& x, int64_t rows, bool norm) {
  const kernels::LinearPart parts[] = {{&layer.first, layer.bias.data()}, {&layer.second}};
  Values y(static_cast<size_t>(rows * layer.out()), -77.0f), scratch(x.size());
  kernels::LinearsArgs args{};
  args.parts = parts;
  args.x = x.data();
  args.rows = rows;
  args.norm_weight = norm ? layer.norm.data() : nullptr;
  args.norm_eps = 1e-5;
  args.activations = rounding;
  args.y = y.data();
  args.normed = scratch.data();
  kernels::linears(context, args);
  return y;
}

TEST(LinearsOfRoundedInputs, MultiplyWhatTheOpGives) {
  for (const ActivationFormat& format : all_formats()) {
    const ActivationRounding rounding{format, 1.9f};
    test::Allowance allowed("linears, " + quant::to_string(format));
    for (const quant::FormatId id : {quant::FormatId::int8, quant::FormatId::fp8_e4m3}) {
      const quant::FormatSpec spec{id};
      const Layer layer = make_layer(spec, 19, 129);
      for (const int64_t rows : {int64_t{1}, int64_t{3}, int64_t{9}}) {
        const Values x = random_values(rows * layer.in(), 23);
        const Expected expected = products(layer, rounding, x, rows);
        const Values y = run({}, layer, rounding, x, rows, false);
        const double terms = static_cast<double>(layer.in()) + 16;
        for (size_t i = 0; i < y.size(); ++i) {
          allowed.check(y[i], expected.p[i], terms * test::half_ulp * expected.magnitude[i],
                        quant::to_string(spec));
        }
        EXPECT_NE(y, run({}, layer, {}, x, rows, false)) << quant::to_string(format);
      }
    }
  }
}

// The same bits as norm, rounding and products one after another, counted in both ledgers.
TEST(LinearsOfRoundedInputs, AreRoundedAfterTheNormAndCounted) {
  const Layer layer = make_layer({quant::FormatId::int4, 32}, 12, 96);
  const ActivationRounding rounding{{ActivationId::int8, ActivationScale::token}, 0};
  const int64_t rows = 3;
  const Values x = random_values(rows * layer.in(), 29);
  Values n(x.size());
  kernels::rmsnorm({}, {x.data(), layer.in(), layer.norm.data(), 1e-5, rows, 1, layer.in(),
                        n.data(), layer.in()});
  kernels::round_activations(
      {}, {rounding, n.data(), layer.in(), rows, layer.in(), n.data(), layer.in()});
  device::KernelCalls all;
  const device::Context context{.calls = &all};
  EXPECT_EQ(run(context, layer, rounding, x, rows, true), run({}, layer, {}, n, rows, false));
  EXPECT_EQ(all.calls().at("activations/round/int8_token"), 2u) << "once for each linear";

  device::KernelCalls mine;
  const kernels::LinearPart part{&layer.first, nullptr, &mine};
  Values y(static_cast<size_t>(rows * layer.first.rows)), scratch(x.size());
  kernels::LinearsArgs args{};
  args.parts = {&part, 1};
  args.x = x.data();
  args.rows = rows;
  args.activations = rounding;
  args.y = y.data();
  args.normed = scratch.data();
  kernels::linears({}, args);
  const std::map<std::string, uint64_t, std::less<>> expected = {
      {"activations/round/int8_token", 1}, {"linear/gemv/int4_g32_fp32", 1}};
  EXPECT_EQ(mine.calls(), expected);
}

}  // namespace
}  // namespace qsweep
