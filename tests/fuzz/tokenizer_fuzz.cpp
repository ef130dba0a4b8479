// model::Tokenizer: every stage of tokenizer.json, the translation and matching of its regular
// expressions, and then encoding and decoding with what was loaded.
//
// Input: the text of tokenizer.json; where a zero byte follows (JSON has none), the text to encode
// behind it.
// Promise: ids name tokens, and what is decoded is valid UTF-8.
#include "fuzz/fuzz.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/utf8.hpp"

namespace {

using qsweep::model::Tokenizer;

constexpr std::string_view usual_text =
    "abc  a <x> 's caf\xC3\xA9\n\xE1\x86\xA8 12 \xF0\x9F\x99\x82";

void use(const Tokenizer& tokenizer, std::string_view text) {
  using qsweep::fuzz::hold;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, special);
    for (const int32_t id : ids) tokenizer.id_to_token(id);  // throws where there is none
    hold(qsweep::model::tok::is_valid_utf8(tokenizer.decode(ids, special)), "text is UTF-8");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qsweep::fuzz::MemoryFile memory;
  const std::string_view input = qsweep::fuzz::as_text(data, size);
  const size_t zero = input.find('\0');
  const std::string_view text = zero == input.npos ? usual_text : input.substr(zero + 1);
  const auto path = memory.write(input.substr(0, zero));
  qsweep::fuzz::accepted([&] { use(Tokenizer::load(path), text); });
  return 0;
}
