// What one request brings along to be asked, perhaps several times; private to http*.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stage/http.hpp"
#include "stage/http_connection.hpp"

namespace qsweep::stage {

// A failure that asking again may mend.
struct Passing {
  std::string reason;
};

struct HttpClient::Ask {
  std::string url;
  bool head = false;
  // Before every try and every redirect: the headers, and a place made ready for the bytes.
  std::function<std::vector<std::string>()> prepare = [] { return std::vector<std::string>{}; };
  std::function<void(const WireResult&, std::span<const char>)> body;
  // Of an answer that is not a server's trouble; may throw Passing.
  std::function<void(const HttpAnswer&)> judge = [](const HttpAnswer&) {};
  uint64_t* gained = nullptr;  // bytes that the try brought
};

// "bytes 5-9/10" or "bytes 5-9/*".
struct ContentRange {
  uint64_t begin = 0, end = 0;  // inclusive
  std::optional<uint64_t> total;
};
std::optional<ContentRange> parse_content_range(const std::string& text);

}  // namespace qsweep::stage
