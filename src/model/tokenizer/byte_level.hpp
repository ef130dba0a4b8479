// The byte alphabet of GPT-2: each of the 256 bytes has one visible character, so that a BPE over
// characters is a BPE over bytes. 0x21..0x7E, 0xA1..0xAC and 0xAE..0xFF stand for themselves; the
// other 68 bytes, in increasing order, are U+0100, U+0101, ... (space is U+0120, line feed U+010A).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace qsweep::model::tok {

std::string bytes_to_alphabet(std::string_view bytes);
// Nothing if some character is outside the alphabet.
std::optional<std::string> alphabet_to_bytes(std::string_view valid_utf8);

}  // namespace qsweep::model::tok
