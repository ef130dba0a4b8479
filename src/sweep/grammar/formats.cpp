#include "sweep/grammar/formats.hpp"

#include <algorithm>

namespace qsweep::sweep::grammar {
namespace {

using quant::FormatSpec;
using quant::ScaleCodec;
using quant::ScaleCodecId;

constexpr int64_t max_group = 1 << 20;  // elements
constexpr int max_mantissa = 10;        // bits; beyond fp16's own
constexpr int64_t nf4_group = 64;       // elements a block, as bitsandbytes has it

// The parts of a short form as nodes of their own, at the place of the whole.
std::vector<Node> split_short(const Node& node) {
  std::vector<Node> parts;
  size_t begin = 0;
  while (true) {
    const size_t slash = node.text.find('/', begin);
    Node part;
    part.kind = Node::Kind::scalar;
    part.place = node.place;
    part.text = node.text.substr(begin, slash - begin);
    parts.push_back(std::move(part));
    if (slash == std::string::npos) return parts;
    begin = slash + 1;
  }
}

bool too_many_parts(const std::vector<Node>& parts, size_t most, const Node& node,
                    const std::string& what, const std::string& form, Faults& faults) {
  if (parts.size() <= most) return false;
  faults.add(node.place, what + " has too many parts", "found " + describe(node), "write " + form);
  return true;
}

std::vector<std::string> codec_words() {
  std::vector<std::string> words = {"fp32", "fp16", "bf16", "dq8"};
  for (int bits = 0; bits <= max_mantissa; ++bits) words.push_back("e5m" + std::to_string(bits));
  return words;
}

ScaleCodec codec_of(const std::string& word) {
  ScaleCodec codec;
  if (word == "fp16") codec.id = ScaleCodecId::fp16;
  if (word == "bf16") codec.id = ScaleCodecId::bf16;
  if (word == "dq8") codec.id = ScaleCodecId::dq8;
  if (word.starts_with("e5m")) {
    codec.id = ScaleCodecId::e5m;
    codec.mantissa_bits = std::stoi(word.substr(3));
  }
  return codec;
}

std::string codec_word(const ScaleCodec& codec) {
  switch (codec.id) {
    case ScaleCodecId::none:
      return "none";
    case ScaleCodecId::fp32:
      return "fp32";
    case ScaleCodecId::fp16:
      return "fp16";
    case ScaleCodecId::bf16:
      return "bf16";
    case ScaleCodecId::e5m:
      return "e5m" + std::to_string(codec.mantissa_bits);
    case ScaleCodecId::dq8:
      return "dq8";
  }
  return "none";
}

ScaleCodec read_codec_word(const Node& node, const std::string& what, Faults& faults) {
  const std::string word = read_word(node, what, codec_words(), faults);
  return word.empty() ? ScaleCodec{} : codec_of(word);
}

int64_t read_group(const Node& node, const std::string& what, bool short_form, Faults& faults) {
  if (node.is_scalar() && node.text == "channel") return quant::per_channel;
  if (node.is_scalar() && node.text == "tensor") return quant::per_tensor;
  if (!short_form)
    return read_integer(node, what + " (or channel, tensor)", 1, max_group, 1, faults);
  if (!node.text.starts_with('g')) {
    faults.add(node.place, what + " cannot be " + describe(node),
               "channel, tensor or g and a number is expected", "for example int4/g128");
    return quant::per_channel;
  }
  Node digits = node;
  digits.text.erase(0, 1);
  return read_integer(digits, what, 1, max_group, 1, faults);
}

FormatSpec default_spec(quant::FormatId id) {
  FormatSpec spec;
  spec.id = id;
  if (id == quant::FormatId::nf4) spec.group = nf4_group;
  if (!quant::has_scales(id)) spec.scale.id = ScaleCodecId::none;
  return spec;
}

std::vector<std::string> with_none(std::vector<std::string> words) {
  words.push_back("none");
  return words;
}

void refuse_scales(const FormatSpec& spec, const Node& node, const std::string& what,
                   Faults& faults) {
  faults.add(node.place,
             what + ": " + std::string(name_of(spec.id)) + " has no groups and no scales",
             "its values are stored as they are", "write the format alone");
}

std::optional<FormatSpec> read_short_weights(const Node& node, const std::string& what,
                                             Faults& faults) {
  const std::vector<Node> parts = split_short(node);
  if (too_many_parts(parts, 3, node, what, "format/group/scale, for example int4/g128/e5m5",
                     faults))
    return {};
  const std::string word =
      read_word(parts[0], what, with_none(all_names<quant::FormatId>()), faults);
  const auto id = parse_name<quant::FormatId>(word);
  if (!id) {
    if (word == "none" && parts.size() > 1) faults.add(node.place, what + ": none stands alone");
    return {};
  }
  FormatSpec spec = default_spec(*id);
  if (parts.size() > 1 && !quant::has_scales(*id)) refuse_scales(spec, node, what, faults);
  if (parts.size() > 1) spec.group = read_group(parts[1], what + " group", true, faults);
  if (parts.size() > 2) spec.scale = read_codec_word(parts[2], what + " scale", faults);
  return spec;
}

std::optional<FormatSpec> read_long_weights(const Node& node, const std::string& what,
                                            Faults& faults) {
  const MapReader map(node, what, weight_keys(), faults);
  const Node* format = map.need("format");
  if (format == nullptr) return {};
  const auto id = read_name<quant::FormatId>(*format, what + ".format", faults);
  if (!id) return {};
  FormatSpec spec = default_spec(*id);
  const Node* group = map.find("group");
  const Node* symmetric = map.find("symmetric");
  const Node* scale = map.find("scale");
  if (!quant::has_scales(*id)) {
    for (const Node* odd : {group, symmetric, scale}) {
      if (odd != nullptr) refuse_scales(spec, *odd, what, faults);
    }
    return spec;
  }
  if (group != nullptr) spec.group = read_group(*group, what + ".group", false, faults);
  if (symmetric != nullptr)
    spec.symmetric = read_flag(*symmetric, what + ".symmetric", true, faults);
  if (scale != nullptr) spec.scale = read_scale(*scale, what + ".scale", faults);
  return spec;
}

// `format[/axis]` where axis is a word of E.
template <class Id, class Axis>
void read_pair(const Node& node, const std::string& what, const std::string& form, Id& id,
               Axis& axis, Faults& faults) {
  const std::vector<Node> parts = split_short(node);
  if (too_many_parts(parts, 2, node, what, form, faults)) return;
  id = read_name<Id>(parts[0], what, faults).value_or(Id::none);
  if (parts.size() > 1) axis = read_name<Axis>(parts[1], what, faults).value_or(axis);
}

}  // namespace

const std::vector<std::string>& weight_keys() {
  static const std::vector<std::string> keys = {"format", "group", "symmetric", "scale"};
  return keys;
}
const std::vector<std::string>& scale_keys() {
  static const std::vector<std::string> keys = {"codec", "sign", "rounding"};
  return keys;
}
const std::vector<std::string>& activation_keys() {
  static const std::vector<std::string> keys = {"format", "scale"};
  return keys;
}
const std::vector<std::string>& kv_keys() {
  static const std::vector<std::string> keys = {"format", "axis", "keep", "by"};
  return keys;
}
const std::vector<std::string>& keep_rules() {
  static const std::vector<std::string> rules = {"key_norm", "attention", "snapkv", "recent"};
  return rules;
}

std::optional<FormatSpec> read_weights(const Node& node, const std::string& what, Faults& faults) {
  return node.is_map() ? read_long_weights(node, what, faults)
                       : read_short_weights(node, what, faults);
}

ScaleCodec read_scale(const Node& node, const std::string& what, Faults& faults) {
  if (!node.is_map()) return read_codec_word(node, what, faults);
  const MapReader map(node, what, scale_keys(), faults);
  const Node* word = map.need("codec");
  ScaleCodec codec =
      word != nullptr ? read_codec_word(*word, what + ".codec", faults) : ScaleCodec{};
  const Node* sign = map.find("sign");
  const Node* rounding = map.find("rounding");
  if (codec.id != ScaleCodecId::e5m) {
    for (const Node* odd : {sign, rounding}) {
      if (odd != nullptr && word != nullptr) {
        faults.add(odd->place, what + ": sign and rounding belong to e5mK alone",
                   "the codec is " + describe(*word), "remove it");
      }
    }
    return codec;
  }
  if (sign != nullptr) {
    const std::string text =
        read_word(*sign, what + ".sign", {"signed", "unsigned", "true", "false"}, faults);
    codec.sign_bit = text != "unsigned" && text != "false";
  }
  if (rounding != nullptr) {
    codec.rounding = read_name<quant::ScaleRounding>(*rounding, what + ".rounding", faults)
                         .value_or(quant::ScaleRounding::published);
  }
  return codec;
}

quant::ActivationFormat read_activations(const Node& node, const std::string& what,
                                         Faults& faults) {
  quant::ActivationFormat format;
  if (!node.is_map()) {
    read_pair(node, what, "format/scale, for example int8/token", format.id, format.scale, faults);
    return format;
  }
  const MapReader map(node, what, activation_keys(), faults);
  if (const Node* id = map.need("format")) {
    format.id = read_name<quant::ActivationId>(*id, what + ".format", faults).value_or(format.id);
  }
  if (const Node* scale = map.find("scale")) {
    format.scale =
        read_name<quant::ActivationScale>(*scale, what + ".scale", faults).value_or(format.scale);
  }
  return format;
}

quant::KvCodec read_kv(const Node& node, const std::string& what, Faults& faults) {
  quant::KvCodec codec;
  if (!node.is_map()) {
    read_pair(node, what, "format/axis, for example int4/head", codec.id, codec.axis, faults);
    return codec;
  }
  const MapReader map(node, what, kv_keys(), faults);
  if (const Node* id = map.find("format")) {
    codec.id = read_name<quant::KvId>(*id, what + ".format", faults).value_or(codec.id);
  }
  if (const Node* axis = map.find("axis")) {
    codec.axis = read_name<quant::KvAxis>(*axis, what + ".axis", faults).value_or(codec.axis);
  }
  if (const Node* keep = map.find("keep")) {
    codec.keep = read_real(*keep, what + ".keep", 1e-3, 1, 1, faults, true);
  }
  std::string by = keep_rules().front();
  if (const Node* rule = map.find("by")) by = read_word(*rule, what + ".by", keep_rules(), faults);
  if (codec.keep < 1)
    codec.keep_by = by;  // a rule for what to drop means nothing where all is kept
  return codec;
}

std::string weights_yaml(const std::optional<FormatSpec>& spec) {
  if (!spec) return "none";
  const std::string format(name_of(spec->id));
  if (!quant::has_scales(spec->id)) return "{format: " + format + "}";
  std::string group = std::to_string(spec->group);
  if (spec->group == quant::per_channel) group = "channel";
  if (spec->group == quant::per_tensor) group = "tensor";
  std::string scale = codec_word(spec->scale);
  if (spec->scale.id == ScaleCodecId::e5m) {
    scale = "{codec: " + scale + ", sign: " + (spec->scale.sign_bit ? "signed" : "unsigned") +
            ", rounding: " + std::string(name_of(spec->scale.rounding)) + "}";
  }
  return "{format: " + format + ", group: " + group +
         ", symmetric: " + (spec->symmetric ? "true" : "false") + ", scale: " + scale + "}";
}

std::string activations_yaml(const quant::ActivationFormat& format) {
  return "{format: " + std::string(name_of(format.id)) +
         ", scale: " + std::string(name_of(format.scale)) + "}";
}

std::string kv_yaml(const quant::KvCodec& codec) {
  std::string text = "{format: " + std::string(name_of(codec.id)) +
                     ", axis: " + std::string(name_of(codec.axis)) +
                     ", keep: " + number_text(codec.keep);
  return text + (codec.keep_by.empty() ? "}" : ", by: " + codec.keep_by + "}");
}

}  // namespace qsweep::sweep::grammar
