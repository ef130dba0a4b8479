// Names, problems and sizes of a format spec, all derived from the lists of formats.hpp and
// scales.hpp.
#include "quant/format/format.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/scales.hpp"

namespace qsweep::quant {
namespace {

using format::Groups;

// Larger than any layer of any model; keeps every product below 2^63.
constexpr int64_t max_elements = int64_t{1} << 40;
constexpr int64_t max_group = int64_t{1} << 30;

bool is_integer(FormatId id) {
  return format::visit_format(id, [](auto f) { return decltype(f)::integer; });
}
bool is_flattened(FormatId id) {
  return format::visit_format(id, [](auto f) { return decltype(f)::flattened; });
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

std::string quoted_name(const FormatSpec& spec) {
  return std::string(name_of(spec.id));
}

std::string codec_problem(const ScaleCodec& codec) {
  if (name_of(codec.id) == "?") return "the scale codec is unknown";
  if (codec.id == ScaleCodecId::none)
    return "a quantized format needs a scale codec, none is given";
  if (codec.id == ScaleCodecId::e5m &&
      (codec.mantissa_bits < 0 || codec.mantissa_bits > format::ScaleE5m::max_mantissa_bits)) {
    return "e5m scales have 0 to 10 mantissa bits, not " + std::to_string(codec.mantissa_bits);
  }
  if (name_of(codec.rounding) == "?") return "the rounding of the scale codec is unknown";
  return {};
}

std::string raw_problem(const FormatSpec& spec) {
  const std::string name = quoted_name(spec);
  if (spec.scale.id != ScaleCodecId::none && spec.scale.id != ScaleCodecId::fp32) {
    return name + " has no scales, so a scale codec (" + to_string(spec.scale) + ") means nothing";
  }
  if (spec.group != per_channel) return name + " has no scales, so a group size means nothing";
  if (!spec.symmetric) return name + " has no zero points, so it cannot be asymmetric";
  return {};
}

}  // namespace

int code_bits(FormatId id) {
  return format::visit_format(id, [](auto f) { return int{decltype(f)::bits}; });
}

bool has_scales(FormatId id) {
  return format::visit_format(id, [](auto f) { return bool{decltype(f)::scaled}; });
}

int scale_bits(const ScaleCodec& codec) {
  if (codec.id == ScaleCodecId::none) return 0;
  return format::visit_scale(codec.id, [&](auto c) { return decltype(c)::bits(codec); });
}

std::string to_string(const ScaleCodec& codec) {
  std::string text(name_of(codec.id));
  if (codec.id != ScaleCodecId::e5m) return text;
  text += std::to_string(codec.mantissa_bits);
  if (!codec.sign_bit) text += "-unsigned";
  if (codec.rounding != ScaleRounding::published) text.append("-").append(name_of(codec.rounding));
  return text;
}

std::string to_string(const FormatSpec& spec) {
  std::string text(name_of(spec.id));
  if (text == "?" || !has_scales(spec.id)) return text;
  text += spec.group == per_channel  ? " channel"
          : spec.group == per_tensor ? " tensor"
                                     : " g" + std::to_string(spec.group);
  if (!spec.symmetric) text += " asym";
  return text + " " + to_string(spec.scale);
}

std::string spec_problem(const FormatSpec& spec) {
  if (name_of(spec.id) == "?") return "the weight format is unknown";
  if (!has_scales(spec.id)) return raw_problem(spec);
  const std::string name = quoted_name(spec);
  if (spec.group < per_tensor || spec.group > max_group) {
    return name + " cannot have groups of " + std::to_string(spec.group) + " elements";
  }
  if (is_flattened(spec.id) && spec.group <= 0) {
    return name +
           " needs a block size (its blocks ignore rows, so channel and tensor mean nothing)";
  }
  if (!spec.symmetric && !is_integer(spec.id))
    return name + " has no zero points, so it cannot be asymmetric";
  return codec_problem(spec.scale);
}

std::string shape_problem(const FormatSpec& spec, int64_t rows, int64_t cols) {
  if (std::string problem = spec_problem(spec); !problem.empty()) return problem;
  if (rows <= 0 || cols <= 0 || rows > max_elements / cols) {
    return "a matrix of " + std::to_string(rows) + " x " + std::to_string(cols) +
           " elements cannot be packed";
  }
  return {};
}

format::Groups format::groups_of(const FormatSpec& spec, int64_t rows, int64_t cols) {
  Groups groups;
  const bool flattened = is_flattened(spec.id);
  groups.lines = flattened ? 1 : rows;
  groups.width = flattened ? rows * cols : cols;
  groups.size =
      spec.group > 0 && has_scales(spec.id) ? std::min(spec.group, groups.width) : groups.width;
  groups.per_line = divide_up(groups.width, groups.size);
  groups.shared = spec.group == per_tensor;
  groups.line_bytes = divide_up(groups.width * code_bits(spec.id), 8);
  groups.zero_line_bytes = spec.symmetric ? 0 : divide_up(groups.per_line * code_bits(spec.id), 8);
  return groups;
}

PackedSize packed_size(const FormatSpec& spec, int64_t rows, int64_t cols) {
  if (const std::string problem = shape_problem(spec, rows, cols); !problem.empty()) {
    throw_invalid("cannot pack as " + to_string(spec), problem);
  }
  const Groups groups = format::groups_of(spec, rows, cols);
  PackedSize size;
  size.codes = static_cast<uint64_t>(groups.lines * groups.line_bytes);
  if (!has_scales(spec.id)) return size;
  size.scales = format::visit_scale(
      spec.scale.id, [&](auto c) { return decltype(c)::bytes(spec.scale, groups.count()); });
  size.zeros = static_cast<uint64_t>((groups.shared ? 1 : groups.lines) * groups.zero_line_bytes);
  return size;
}

int64_t PackedMatrix::groups_per_row() const {
  if (!has_scales(spec.id)) return 0;
  return spec.group > 0 ? divide_up(cols, spec.group) : 1;
}

}  // namespace qsweep::quant
