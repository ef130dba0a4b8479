// quantize() and quantization_error() on the GPU: packed bytes equal to the host's for every
// format, codec, rounding and group; sums of errors; refused weights; hashes; whole models.
#include "kernels/quantize/quantize.hpp"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "device/pinned.hpp"
#include "device/upload.hpp"
#include "gpu/on_gpu.hpp"
#include "model/model.hpp"
#include "unit/format/spec_list.hpp"
#include "unit/source_folder.hpp"

namespace qsweep {
namespace {

using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using quant::ScaleCodecId;

// Groups that are all zero, of one sign, tiny and huge, beside ordinary ones; `stride` elements
// each.
std::vector<float> uneven_weights(int64_t n, uint32_t seed, int64_t stride = 37) {
  std::vector<float> values = quant::gaussian(n, seed);
  for (int64_t i = 0; i < n; ++i) {
    float& value = values[static_cast<size_t>(i)];
    switch (i / stride % 11) {
      case 1:
        value = 0.0f;
        break;
      case 3:
        value = -std::fabs(value);
        break;
      case 5:
        value = std::fabs(value) * 1e-7f;
        break;
      case 7:
        value *= 3e5f;
        break;
      case 9:
        value = i % 2 == 0 ? -0.0f : 1e-12f;
        break;
      default:
        break;
    }
  }
  return values;
}

// The values as a checkpoint of this type would hold them.
PackedMatrix raw_of(FormatId id, const std::vector<float>& values, int64_t rows, int64_t cols) {
  return quant::quantize_rtn({id}, values, rows, cols);
}

std::vector<float> values_of(const PackedMatrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  quant::dequantize_rows(matrix, 0, matrix.rows, values.data());
  return values;
}

std::vector<std::byte> bytes_of(const device::Buffer& buffer) {
  std::vector<std::byte> bytes(buffer.size());
  if (!bytes.empty()) {
    device::copy_bytes(bytes.data(), device::Place::host, buffer.data(), buffer.place(),
                       bytes.size());
  }
  return bytes;
}

// The first byte that differs, as text; empty where all are equal.
std::string difference(const device::Buffer& ours, const device::Buffer& host) {
  if (ours.size() != host.size()) {
    return std::to_string(ours.size()) + " bytes, not " + std::to_string(host.size());
  }
  const auto a = bytes_of(ours), b = bytes_of(host);
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) {
      return "byte " + std::to_string(i) + " of " + std::to_string(a.size()) + " is " +
             std::to_string(std::to_integer<int>(a[i])) + ", not " +
             std::to_string(std::to_integer<int>(b[i]));
    }
  }
  return {};
}

// Whether the spec holds the shape, and so was compared.
bool compare(const FormatSpec& spec, FormatId source, int64_t rows, int64_t cols) {
  if (!quant::shape_problem(spec, rows, cols).empty()) return false;
  std::vector<float> values = uneven_weights(rows * cols, static_cast<uint32_t>(rows + cols));
  if (source == FormatId::fp16 || spec.id == FormatId::fp16) {
    for (float& value : values) value = std::fmod(value, 60000.0f);
  }
  const device::Context context = test::gpu_context();
  const PackedMatrix host_weights = raw_of(source, values, rows, cols);
  const PackedMatrix weights = test::copy_on_gpu(host_weights);
  const PackedMatrix host = quant::quantize_rtn(spec, values_of(host_weights), rows, cols);
  const PackedMatrix ours = kernels::quantize(context, spec, weights);
  const std::string what = quant::to_string(spec) + " of " + std::string(name_of(source)) + " " +
                           std::to_string(rows) + " x " + std::to_string(cols);
  EXPECT_EQ(difference(ours.codes, host.codes), "") << "codes, " << what;
  EXPECT_EQ(difference(ours.scales, host.scales), "") << "scales, " << what;
  EXPECT_EQ(difference(ours.zeros, host.zeros), "") << "zeros, " << what;
  return true;
}

TEST(QuantizeGpu, BytesEqualTheHostsForEveryFormatAndCodec) {
  QSWEEP_NEEDS_GPU();
  int compared = 0;
  for (const FormatSpec& spec : quant::all_specs()) {
    compared += compare(spec, FormatId::bf16, 33, 37) ? 1 : 0;
    if (testing::Test::HasFailure()) break;  // the rest would say the same a thousand times
  }
  EXPECT_GT(compared, 1000);
}

// Several pieces a group, whole tensors, one column, one row; the other types of checkpoints.
TEST(QuantizeGpu, BytesEqualTheHostsForEveryShapeAndSource) {
  QSWEEP_NEEDS_GPU();
  const std::vector<FormatSpec> specs = {
      {FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}},
      {FormatId::int4, 64, false, {ScaleCodecId::fp16}},
      {FormatId::int4, quant::per_tensor, false, {ScaleCodecId::fp32}},
      {FormatId::int8, quant::per_channel, true, {ScaleCodecId::fp32}},
      {FormatId::int8, 32, false, {ScaleCodecId::bf16}},
      {FormatId::fp8_e4m3, quant::per_channel, true, {ScaleCodecId::fp32}},
      {FormatId::fp8_e4m3, quant::per_tensor, true, {ScaleCodecId::e5m, 3}},
      {FormatId::nf4, 64, true, {ScaleCodecId::dq8}},
      {FormatId::nf4, 7, true, {ScaleCodecId::fp32}},
      {FormatId::bf16},
      {FormatId::fp16},
      {FormatId::fp32}};
  for (const FormatSpec& spec : specs) {
    for (const FormatId source : {FormatId::bf16, FormatId::fp16, FormatId::fp32}) {
      for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{
               {1, 1}, {1, 129}, {257, 1}, {3, 9001}, {130, 448}}) {
        EXPECT_TRUE(compare(spec, source, rows, cols));
      }
    }
  }
}

// 5000 scales: their mean needs more than one tile, their blocks do not come out even.
TEST(QuantizeGpu, DoubleQuantizationOfManyScales) {
  QSWEEP_NEEDS_GPU();
  EXPECT_TRUE(compare({FormatId::nf4, 64, true, {ScaleCodecId::dq8}}, FormatId::bf16, 1250, 256));
  EXPECT_TRUE(compare({FormatId::int4, 32, false, {ScaleCodecId::dq8}}, FormatId::bf16, 1250, 128));
}

TEST(QuantizeGpu, ErrorsEqualTheHosts) {
  QSWEEP_NEEDS_GPU();
  const std::vector<FormatSpec> specs = {
      {FormatId::int4, 128, true, {ScaleCodecId::e5m, 0}},
      {FormatId::int4, 64, false, {ScaleCodecId::fp16}},
      {FormatId::int8, quant::per_tensor, true, {ScaleCodecId::fp32}},
      {FormatId::fp8_e4m3, quant::per_channel, true, {ScaleCodecId::fp32}},
      {FormatId::nf4, 64, true, {ScaleCodecId::dq8}},
      {FormatId::nf4, 7, true, {ScaleCodecId::bf16}},
      {FormatId::bf16}};
  const device::Context context = test::gpu_context();
  for (const FormatSpec& spec : specs) {
    // Sums of n terms in double, in another order: n * 2^-53 of their magnitude. dq8: the GPU
    // decodes a scale with one rounding, the host with two (2^-24 of the scale), which moves w - v
    // by up to that share of v, here below 16 times w - v.
    const int64_t rows = 70, cols = 4500;
    const bool fused = spec.scale.id == ScaleCodecId::dq8;
    const double relative = fused ? 0x1p-18 : static_cast<double>(rows * cols) * 0x1p-53;
    const std::vector<float> values = quant::gaussian(rows * cols, 5);
    const PackedMatrix host_weights = raw_of(FormatId::fp32, values, rows, cols);
    const PackedMatrix host = quant::quantize_rtn(spec, values, rows, cols);
    const PackedMatrix weights = test::copy_on_gpu(host_weights), packed = test::copy_on_gpu(host);
    const auto expected = kernels::cpu::quantization_error(host, values);
    const auto got = kernels::quantization_error(context, packed, weights);
    test::Allowance allowed(quant::to_string(spec));
    allowed.check(got.error, expected.error, relative * expected.error, "error");
    allowed.check(got.energy, expected.energy, relative * expected.energy, "energy");
    allowed.check(got.decoded, expected.decoded, relative * expected.decoded, "decoded");
    allowed.check(got.product, expected.product, relative * expected.energy, "product");
    allowed.check(got.worst_group, expected.worst_group, relative * expected.worst_group,
                  "worst group");
    // A fixed order: the same bits every time.
    const auto again = kernels::quantization_error(context, packed, weights);
    EXPECT_EQ(std::memcmp(&got, &again, sizeof got), 0) << quant::to_string(spec);
  }
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::invalid_input ? error.what() : "of another kind";
  }
  return "nothing was thrown";
}

TEST(QuantizeGpu, RefusesWhatTheHostRefusesInItsWords) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  const int64_t rows = 40, cols = 333;
  const FormatSpec int4{FormatId::int4, 128, true, {ScaleCodecId::fp16}};
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 2e36f}) {
    std::vector<float> values = quant::gaussian(rows * cols, 9);
    values[static_cast<size_t>(17 * cols + 5)] = bad;
    values[static_cast<size_t>(17 * cols + 6)] = bad;
    const auto raw = static_cast<size_t>(rows * cols) * 4;
    const PackedMatrix weights =
        quant::pack_raw(FormatId::fp32, std::as_bytes(std::span(values)).first(raw), rows, cols,
                        device::Place::gpu);
    const std::string host = refusal([&] { quant::quantize_rtn(int4, values, rows, cols); });
    EXPECT_NE(host.find("row 17, column 5"), std::string::npos);
    EXPECT_EQ(refusal([&] { kernels::quantize(test::gpu_context(), int4, weights); }), host);
  }
  std::vector<float> values = quant::gaussian(rows * cols, 9);
  values[777] = 1e6f;
  const PackedMatrix weights = test::copy_on_gpu(raw_of(FormatId::fp32, values, rows, cols));
  const std::string host =
      refusal([&] { quant::quantize_rtn({FormatId::fp16}, values, rows, cols); });
  EXPECT_NE(host.find("beyond the range"), std::string::npos);
  EXPECT_EQ(refusal([&] { kernels::quantize(test::gpu_context(), {FormatId::fp16}, weights); }),
            host);
}

// From unaligned host memory, pieces and their remainders, and again after a wait.
TEST(UploadGpu, BytesArriveWhole) {
  QSWEEP_NEEDS_GPU();
  const device::Context context = test::gpu_context();
  std::vector<std::byte> host(3 * device::PinnedPiece::bytes + 12345);
  for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  for (const int threads : {1, 3, 16}) {
    device::Upload upload(context, threads);
    for (int round = 0; round < 2; ++round) {
      std::vector<device::Buffer> buffers;
      for (const size_t from : {0, 1, 4097, 777777}) {
        const auto bytes = std::span<const std::byte>(host).subspan(from);
        buffers.emplace_back(bytes.size(), device::MemoryClass::weights, device::Place::gpu);
        upload.add(buffers.back().data(), bytes);
      }
      upload.wait();
      size_t i = 0;
      for (const size_t from : {0, 1, 4097, 777777}) {
        const auto back = bytes_of(buffers[i++]);
        EXPECT_TRUE(std::equal(back.begin(), back.end(), host.begin() + static_cast<long>(from)))
            << from << ", " << threads << " threads";
      }
    }
    EXPECT_GT(upload.bytes(), 8 * host.size() - 8 * 800000);
    EXPECT_GT(upload.seconds(), 0);
  }
}

// What is not on its way yet is dropped, and nothing is left waiting.
TEST(UploadGpu, MayEndBeforeItIsDone) {
  QSWEEP_NEEDS_GPU();
  const device::Context context = test::gpu_context();
  const std::vector<std::byte> host(64 * device::PinnedPiece::bytes);
  device::Buffer buffer(host.size(), device::MemoryClass::weights, device::Place::gpu);
  for (int i = 0; i < 5; ++i) {
    device::Upload upload(context, 4);
    upload.add(buffer.data(), host);
  }
  const device::Upload idle(context, 4);
  EXPECT_EQ(idle.seconds(), 0);
}

quant::QuantConfig config_of(const FormatSpec& spec) {
  quant::QuantConfig config;
  config.name = "quantized";
  config.scope = {quant::Scope::all_linear, quant::Scope::lm_head};
  config.weights = spec;
  return config;
}

// The certificate names the same bytes, whichever backend quantized them, with and without a base
// whose weights are on the GPU already.
TEST(QuantizeGpu, ModelsHaveTheHostsHashes) {
  QSWEEP_NEEDS_GPU();
  const auto checkpoint = model::Checkpoint::open(test::source_folder() / "data" / "mini-phi3");
  device::Context gpu = test::gpu_context();
  gpu.threads = 4;
  const auto base = model::build_model(checkpoint, {}, gpu);
  for (const FormatSpec& spec : {FormatSpec{FormatId::int4, 32, true, {ScaleCodecId::e5m, 5}},
                                 FormatSpec{FormatId::int4, 32, false, {ScaleCodecId::fp16}},
                                 FormatSpec{FormatId::nf4, 64, true, {ScaleCodecId::dq8}},
                                 FormatSpec{FormatId::fp8_e4m3, quant::per_channel}}) {
    model::LoadReport host_report, with_base, without;
    const auto host = model::build_model(checkpoint, config_of(spec), {}, nullptr, &host_report);
    const auto ours = model::build_model(checkpoint, config_of(spec), gpu, base.get(), &with_base);
    const auto alone = model::build_model(checkpoint, config_of(spec), gpu, nullptr, &without);
    const auto expected = model::linears(std::as_const(*host));
    for (const auto& model : {ours, alone}) {
      const auto linears = model::linears(std::as_const(*model));
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(linears[i]->hash_when_packed, expected[i]->hash_when_packed)
            << expected[i]->name << " as " << quant::to_string(spec);
        EXPECT_FALSE(linears[i]->hash_when_packed.empty());
      }
    }
    ASSERT_EQ(with_base.errors.size(), host_report.errors.size());
    for (size_t i = 0; i < host_report.errors.size(); ++i) {
      EXPECT_EQ(with_base.errors[i].tensor, host_report.errors[i].tensor);
      EXPECT_NEAR(with_base.errors[i].relative_mse / host_report.errors[i].relative_mse, 1, 1e-5);
      EXPECT_NEAR(with_base.errors[i].worst_group / host_report.errors[i].worst_group, 1, 1e-5);
    }
    EXPECT_EQ(with_base.read_bytes, 0u);  // all shared with the base, or made from it
    EXPECT_GT(without.read_bytes, 0u);
  }
}

}  // namespace
}  // namespace qsweep
