// Unicode normal forms (UAX #15) with the character data of utf8proc.
#pragma once

#include <string>

namespace qsweep::model::tok {

std::string to_nfc(std::string valid_utf8);
std::string to_nfd(std::string valid_utf8);
std::string to_nfkc(std::string valid_utf8);
std::string to_nfkd(std::string valid_utf8);

}  // namespace qsweep::model::tok
