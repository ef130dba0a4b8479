#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/regex.hpp"

#include <pcre2.h>

#include <algorithm>

#include "base/error.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

// Backtracking steps allowed: a fixed part for small texts, and a generous number per byte. The
// patterns in use take fewer than 20 a byte.
constexpr uint64_t match_steps_base = 1'000'000;
constexpr uint64_t match_steps_per_byte = 256;
constexpr uint32_t match_heap_kib = 1u << 20;  // 1 GiB, for the interpreter's backtracking frames

template <class T, void (*free_function)(T*)>
struct Deleter {
  void operator()(T* pointer) const { free_function(pointer); }
};
using MatchData =
    std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context, pcre2_match_context_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context,
                                       Deleter<pcre2_compile_context, pcre2_compile_context_free>>;

std::string error_text(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  std::unique_ptr<pcre2_code, Deleter<pcre2_code, pcre2_code_free>> code;
  std::string place;
  bool jit = false;
};

Regex::Regex(std::string_view pattern, const std::string& place) {
  auto compiled = std::make_shared<Compiled>();
  compiled->place = place;
  std::string translated;
  try {
    translated = translate_oniguruma(pattern);
  } catch (const Error& error) {
    throw_invalid(place + ": unsupported regular expression", error.what());
  }
  const CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  // In Ruby syntax ^ and $ always match at line ends. \C could cut a character in two.
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int code = 0;
  size_t offset = 0;
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()),
                                     translated.size(), options, &code, &offset, context.get()));
  if (!compiled->code) {
    throw_invalid(place + ": invalid regular expression", error_text(code) + " at offset " +
                                                              std::to_string(offset) + " of " +
                                                              printable(translated, 240));
  }
  // Where the system forbids executable memory the interpreter gives the same matches, slower.
  compiled->jit = pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE) == 0;
  compiled_ = std::move(compiled);
}

std::vector<Match> Regex::find_all(std::string_view text) const {
  const pcre2_code* code = compiled_->code.get();
  const MatchData data(pcre2_match_data_create_from_pattern(code, nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  const uint64_t steps = match_steps_base + match_steps_per_byte * text.size();
  pcre2_set_match_limit(context.get(),
                        static_cast<uint32_t>(std::min<uint64_t>(steps, UINT32_MAX)));
  pcre2_set_heap_limit(context.get(), match_heap_kib);

  std::vector<Match> matches;
  size_t at = 0;
  size_t last_end = SIZE_MAX;
  uint32_t options = PCRE2_NO_UTF_CHECK;
  while (at <= text.size()) {
    int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                            options, data.get(), context.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      options |= PCRE2_NO_JIT;  // the interpreter keeps its frames on the heap
      continue;
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      throw_invalid(compiled_->place + ": the regular expression cannot be matched",
                    error_text(found), "the pattern backtracks too much on this text");
    }
    const size_t* range = pcre2_get_ovector_pointer(data.get());
    const Match match{range[0], range[1]};
    const size_t covered = last_end == SIZE_MAX ? 0 : last_end;
    if (match.begin < covered || match.end < match.begin) {
      throw_invalid(compiled_->place + ": the regular expression gives overlapping matches",
                    "it resets the start of a match");
    }
    if (match.begin == match.end && match.end == last_end) {
      at = match.end < text.size() ? match.end + decode_at(text, match.end).bytes : text.size() + 1;
      continue;
    }
    matches.push_back(match);
    at = last_end = match.end;
  }
  return matches;
}

}  // namespace qsweep::model::tok
