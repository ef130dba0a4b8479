#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/regex.hpp"

#include <pcre2.h>

#include <algorithm>
#include <ctime>

#include "base/error.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

// Three bounds keep a pattern from thinking for ever. The patterns in use take fewer than 20 steps
// a byte, some 10 ns each.
//   steps   at one start of a match: PCRE2 counts them anew at every start
//   starts  tried in one call, so that the time can be looked at between calls
//   time    of the processor for the whole text, so that other programs do not count: fifty times
//           and more what the patterns in use take
constexpr uint64_t match_steps_base = 100'000;
constexpr uint64_t match_steps_per_byte = 16;
constexpr size_t starts_per_call = 16;
constexpr double seconds_base = 0.5;
constexpr double seconds_per_byte = 5e-6;
constexpr uint32_t match_heap_kib = 1u << 18;  // 256 MiB, for the interpreter's backtracking frames

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

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::string error_text(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Processor time of this thread, against a limit. Asking for it enters the kernel, so the plain
// clock is asked first whether enough has passed to make it worth while.
class Deadline {
 public:
  explicit Deadline(double seconds) : end_(seconds_of(CLOCK_THREAD_CPUTIME_ID) + seconds) {}
  bool passed() {
    const double now = seconds_of(CLOCK_MONOTONIC);
    if (now < next_look_) return false;
    next_look_ = now + look_every;
    return seconds_of(CLOCK_THREAD_CPUTIME_ID) > end_;
  }

 private:
  static constexpr double look_every = 0.01;  // [s]
  double end_;
  double next_look_ = seconds_of(CLOCK_MONOTONIC) + look_every;
};

// Calls of pcre2_match over one text, within the bounds above.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view text)
      : code_(code),
        text_(text),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        deadline_(seconds_base + seconds_per_byte * static_cast<double>(text.size())) {
    const uint64_t steps = match_steps_base + match_steps_per_byte * text.size();
    pcre2_set_match_limit(context_.get(),
                          static_cast<uint32_t>(std::min<uint64_t>(steps, UINT32_MAX)));
    pcre2_set_heap_limit(context_.get(), match_heap_kib);
  }

  // The first match that starts at `at` or later, or nothing. Throws the bare reason where a bound
  // is passed.
  std::optional<Match> next(size_t at) {
    while (at <= text_.size()) {
      const size_t last_start = std::min(text_.size(), at + starts_per_call);
      pcre2_set_offset_limit(context_.get(), last_start);
      const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(),
                                    at, options_, data_.get(), context_.get());
      if (found == PCRE2_ERROR_JIT_STACKLIMIT && (options_ & PCRE2_NO_JIT) == 0) {
        options_ |= PCRE2_NO_JIT;  // the interpreter keeps its frames on the heap
        continue;
      }
      if (found < 0 && found != PCRE2_ERROR_NOMATCH) throw_invalid(error_text(found), "");
      if (deadline_.passed()) throw_invalid("time limit exceeded", "");
      if (found >= 0) {
        const size_t* range = pcre2_get_ovector_pointer(data_.get());
        return Match{range[0], range[1]};
      }
      at = last_start + 1;
      while (at < text_.size() && (static_cast<uint8_t>(text_[at]) & 0xC0) == 0x80) ++at;
    }
    return std::nullopt;
  }

 private:
  const pcre2_code* code_;
  std::string_view text_;
  MatchData data_;
  MatchContext context_;
  Deadline deadline_;
  uint32_t options_ = PCRE2_NO_UTF_CHECK;
};

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
  const uint32_t options =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
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

std::vector<Match> Regex::find_all(std::string_view text) const try {
  Search search(compiled_->code.get(), text);
  std::vector<Match> matches;
  size_t at = 0;
  size_t last_end = SIZE_MAX;
  while (const std::optional<Match> match = search.next(at)) {
    const size_t covered = last_end == SIZE_MAX ? 0 : last_end;
    if (match->begin < covered || match->end < match->begin)
      throw_invalid("a match before the last one", "");
    if (match->begin == match->end && match->end == last_end) {
      at = last_end < text.size() ? last_end + decode_at(text, last_end).bytes : text.size() + 1;
      continue;
    }
    matches.push_back(*match);
    at = last_end = match->end;
  }
  return matches;
} catch (const Error& error) {
  throw_invalid(compiled_->place + ": the regular expression cannot be matched", error.what(),
                "does the pattern backtrack too much, or move the start of its match?");
}

}  // namespace qsweep::model::tok
