// Bytes and decoded values against goldens/format, which an independent NumPy program wrote from
// the definitions. Update: python3 tests/goldens/format/make_goldens.py
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

using nlohmann::json;

std::filesystem::path golden(const char* name) {
  return std::filesystem::path(QSWEEP_SOURCE_DIR) / "tests/goldens/format" / name;
}

json read_json(const char* name) {
  return json::parse(read_file(golden(name), 1 << 22));
}

struct Case {
  std::string name;
  int64_t rows, cols;
  std::vector<float> weights;
};

std::vector<Case> read_cases(const json& goldens) {
  const std::string blob = read_file(golden("weights.f32"), 1 << 22);
  std::vector<Case> cases;
  for (const json& entry : goldens.at("cases")) {
    Case c{entry.at("name"), entry.at("rows"), entry.at("cols"), {}};
    c.weights.resize(static_cast<size_t>(c.rows * c.cols));
    std::memcpy(c.weights.data(), blob.data() + entry.at("offset").get<size_t>(),
                c.weights.size() * 4);
    cases.push_back(std::move(c));
  }
  return cases;
}

FormatSpec read_spec(const json& j) {
  FormatSpec spec;
  spec.id = parse_name<FormatId>(j.at("format").get<std::string>()).value();
  const json& group = j.at("group");
  spec.group = group.is_number()    ? group.get<int64_t>()
               : group == "channel" ? per_channel
                                    : per_tensor;
  spec.symmetric = j.at("symmetric");
  spec.scale.id = parse_name<ScaleCodecId>(j.at("codec").get<std::string>()).value();
  if (spec.scale.id == ScaleCodecId::e5m) {
    spec.scale.mantissa_bits = j.at("mantissa_bits");
    spec.scale.sign_bit = j.at("sign_bit");
    spec.scale.rounding = parse_name<ScaleRounding>(j.at("rounding").get<std::string>()).value();
  }
  return spec;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text.push_back("0123456789abcdef"[static_cast<int>(byte) >> 4]);
    text.push_back("0123456789abcdef"[static_cast<int>(byte) & 15]);
  }
  return text;
}

std::vector<float> decode_all(const PackedMatrix& matrix) {
  std::vector<float> out(static_cast<size_t>(matrix.rows * matrix.cols));
  dequantize_rows(matrix, 0, matrix.rows, out.data());
  return out;
}

TEST(Golden, BytesAndValuesOfEveryFormat) {
  const json goldens = read_json("goldens.json");
  const std::vector<Case> cases = read_cases(goldens);
  int compared = 0;
  for (const json& entry : goldens.at("entries")) {
    const FormatSpec spec = read_spec(entry.at("spec"));
    for (const Case& c : cases) {
      if (!entry.at("results").contains(c.name)) continue;
      const PackedMatrix packed = quantize_rtn(spec, c.weights, c.rows, c.cols);
      const std::vector<float> values = decode_all(packed);
      const std::span<const std::byte> parts[] = {packed.codes.bytes(), packed.scales.bytes(),
                                                  packed.zeros.bytes(),
                                                  std::as_bytes(std::span(values))};
      const char* names[] = {"codes", "scales", "zeros", "values"};
      for (size_t i = 0; i < 4; ++i) {
        const std::string found =
            c.name == "small" ? hex(parts[i]) : sha256_hex(parts[i]).substr(0, 16);
        EXPECT_EQ(found, entry.at("results").at(c.name).at(i).get<std::string>())
            << names[i] << " of " << c.name << " as " << to_string(spec);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 4000);
}

// A format or codec added to the lists must get its golden.
TEST(Golden, CoversEveryFormatTimesCodec) {
  std::set<std::pair<FormatId, ScaleCodecId>> covered;
  std::set<FormatId> asymmetric;
  const json goldens = read_json("goldens.json");
  for (const json& entry : goldens.at("entries")) {
    const FormatSpec spec = read_spec(entry.at("spec"));
    covered.insert({spec.id, spec.scale.id});
    if (!spec.symmetric) asymmetric.insert(spec.id);
  }
  for (const FormatSpec& spec : all_specs()) {
    EXPECT_TRUE(covered.contains({spec.id, spec.scale.id})) << to_string(spec);
    EXPECT_TRUE(spec.symmetric || asymmetric.contains(spec.id)) << to_string(spec);
  }
}

// C3, C4 and C5 of the scale-metadata study: the decoded weights are those of the published
// definition.
TEST(Golden, ScaleMetadataStudy) {
  const json goldens = read_json("goldens.json");
  const json smq = read_json("smq.json");
  const std::vector<Case> cases = read_cases(goldens);
  const auto c = std::find_if(cases.begin(), cases.end(),
                              [&](const Case& x) { return x.name == smq.at("case"); });
  ASSERT_NE(c, cases.end());
  for (const auto& [label, expected] : smq.at("weights").items()) {
    FormatSpec spec{FormatId::int4, 128, true, {}};
    if (label != "C3") {
      spec.scale = {ScaleCodecId::e5m,
                    label == "C5_m0"   ? 0
                    : label == "C5_m3" ? 3
                                       : 5,
                    true, ScaleRounding::published};
    }
    const std::vector<float> values = decode_all(quantize_rtn(spec, c->weights, c->rows, c->cols));
    EXPECT_EQ(sha256_hex(std::as_bytes(std::span(values))).substr(0, 16),
              expected.get<std::string>())
        << label;
  }
}

}  // namespace
}  // namespace qsweep::quant
