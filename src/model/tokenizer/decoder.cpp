#include "model/tokenizer/decoder.hpp"

#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/byte_level.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

// A character may be spread over several tokens, so bytes are joined before they are read as UTF-8.
// A token with a character outside the alphabet (an added token) stands for its own bytes.
Strings join_byte_level(Strings tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    const auto raw = alphabet_to_bytes(token);
    bytes.append(raw ? *raw : token);
  }
  return {sanitize_utf8(bytes)};
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<char> byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const int high = hex_value(token[3]);
  const int low = hex_value(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

// A run of <0xHH> tokens becomes its text if that is valid UTF-8, and one U+FFFD a byte if not.
Strings join_byte_tokens(Strings tokens) {
  Strings out;
  std::string run;
  const auto flush = [&] {
    if (run.empty()) return;
    if (is_valid_utf8(run)) {
      out.push_back(run);
    } else {
      out.insert(out.end(), run.size(), std::string(replacement_character));
    }
    run.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      run.push_back(*byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  return out;
}

Strings fuse(Strings tokens) {
  std::string all;
  for (const std::string& token : tokens) all.append(token);
  return {std::move(all)};
}

constexpr std::array<std::pair<std::string_view, MapTokens>, 3> token_maps{
    {{"ByteLevel", join_byte_level}, {"ByteFallback", join_byte_tokens}, {"Fuse", fuse}}};

Strings apply(const ReplaceInTokens& step, Strings tokens) {
  for (std::string& token : tokens)
    token = replace_all(step.pattern, token, step.content, grown_limit(token.size()));
  return tokens;
}

Strings apply(const StripTokens& step, Strings tokens) {
  const size_t length = step.content.size();
  for (std::string& token : tokens) {
    std::string_view rest = token;
    for (size_t i = 0; i < step.start && rest.starts_with(step.content); ++i)
      rest.remove_prefix(length);
    for (size_t i = 0; i < step.stop && rest.ends_with(step.content); ++i)
      rest.remove_suffix(length);
    token = std::string(rest);
  }
  return tokens;
}

Strings apply(const MetaspaceDecode& step, Strings tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = replace_all(Literal{step.replacement}, tokens[i],
                            i == 0 && step.drop_first ? "" : " ", grown_limit(tokens[i].size()));
  }
  return tokens;
}

Strings apply(MapTokens step, Strings tokens) {
  return step(std::move(tokens));
}

void parse_into(const Place& place, std::vector<DecoderStep>& steps) {
  const std::string& type = place.at("type").string();
  check_steps(place, steps.size());
  for (const auto& [name, map] : token_maps) {
    if (type == name) {
      steps.emplace_back(map);
      return;
    }
  }
  if (type == "Sequence") {
    const Place list = place.at("decoders");
    for (size_t i = 0; i < list.size(); ++i) parse_into(list.at(i), steps);
  } else if (type == "Replace") {
    steps.emplace_back(ReplaceInTokens{parse_pattern(place.at("pattern")),
                                       bounded_text(place.at("content"), max_inserted_bytes)});
  } else if (type == "Strip") {
    constexpr int64_t max = std::numeric_limits<int32_t>::max();
    place.at("content").character();
    steps.emplace_back(StripTokens{place.at("content").string(),
                                   static_cast<size_t>(place.at("start").integer(0, max)),
                                   static_cast<size_t>(place.at("stop").integer(0, max))});
  } else if (type == "Metaspace") {
    const MetaspaceStep step = parse_metaspace(place);
    steps.emplace_back(MetaspaceDecode{step.replacement, step.prepend != PrependScheme::never});
  } else {
    place.fail("unsupported decoder '" + printable(type) + "'",
               "known: Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace");
  }
}

}  // namespace

uint64_t total_bytes(const Strings& tokens) {
  uint64_t bytes = 0;
  for (const std::string& token : tokens) bytes += token.size();
  return bytes;
}

Decoder parse_decoder(const Place& place) {
  Decoder decoder;
  if (place.is_null()) return decoder;
  decoder.present = true;
  parse_into(place, decoder.steps);
  return decoder;
}

std::string decode(const Decoder& decoder, Strings tokens) {
  const uint64_t limit = grown_limit(total_bytes(tokens));
  for (const DecoderStep& step : decoder.steps) {
    tokens = std::visit([&](const auto& s) { return apply(s, std::move(tokens)); }, step);
    check_growth(total_bytes(tokens), limit);
  }
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !decoder.present) text.push_back(' ');
    text.append(tokens[i]);
  }
  return text;
}

}  // namespace qsweep::model::tok
