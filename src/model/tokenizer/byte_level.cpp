#include "model/tokenizer/byte_level.hpp"

#include <array>
#include <cstdint>

#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

constexpr char32_t first_moved = 0x100;
constexpr size_t alphabet_end = 0x100 + 68;

struct Tables {
  std::array<char32_t, 256> character{};
  std::array<int16_t, alphabet_end> byte{};  // -1: not in the alphabet
};

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Tables make_tables() {
  Tables tables;
  for (auto& byte : tables.byte) byte = -1;
  char32_t moved = first_moved;
  for (unsigned byte = 0; byte < 256; ++byte) {
    tables.character[byte] = stands_for_itself(byte) ? byte : moved++;
    tables.byte[tables.character[byte]] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables tables = make_tables();
static_assert(tables.character[' '] == 0x120 && tables.character['\n'] == 0x10A);
static_assert(tables.character[0xAD] == alphabet_end - 1);

}  // namespace

std::string bytes_to_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 2);
  for (const char byte : bytes) append_utf8(tables.character[static_cast<uint8_t>(byte)], out);
  return out;
}

std::optional<std::string> alphabet_to_bytes(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (c.value >= alphabet_end || tables.byte[c.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(tables.byte[c.value]));
    at += c.bytes;
  }
  return bytes;
}

}  // namespace qsweep::model::tok
