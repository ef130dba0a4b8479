// Oniguruma (Ruby syntax) to PCRE2, construct by construct:
//   \s \w \d \h \b    Unicode White_Space, word, Nd, hex digit; PCRE2's differ (U+180E, marks, \h)
//   \p{Han}           is \p{sc:Han}: the script itself, not all that is used with it
//   (?m)              is PCRE2's (?s)
//   X{n,m}+  X{n}?    is (?:X{n,m})+  (?:X{n})?, not a possessive or lazy interval
//   X{,m}             is X{0,m}
//   \uHHHH            is \x{HHHH}
// Sets of sets ([a[bc]], &&), absence groups, \y \Y \O \N, verbs and \G (a search goes on in parts,
// so it has no one start) have no equivalent: refused.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cctype>
#include <utility>

#include "base/error.hpp"
#include "model/tokenizer/regex.hpp"

namespace qsweep::model::tok {
namespace {

constexpr size_t max_pattern_bytes = 64 << 10;
constexpr std::string_view white_space =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside of [...] Oniguruma looks characters below U+0100 up in a table in which superscript
// digits and vulgar fractions are word characters.
constexpr std::string_view bare_word =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view hex_digit = "0-9a-fA-F";
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> posix_classes{
    {{"[:alpha:]", "\\p{Alphabetic}"},
     {"[:digit:]", "\\p{Nd}"},
     {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
     {"[:upper:]", "\\p{Uppercase}"},
     {"[:lower:]", "\\p{Lowercase}"},
     {"[:space:]", white_space},
     {"[:word:]", word},
     {"[:xdigit:]", hex_digit}}};

[[noreturn]] void unsupported(std::string_view what, size_t at) {
  throw Error(ErrorKind::invalid_input,
              std::string(what) + " at offset " + std::to_string(at) + " has no equivalent here");
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  // One atom, group bracket or quantifier. `atom_` is where the atom before a quantifier starts in
  // out_.
  void step() {
    switch (in_[at_]) {
      case '\\':
        atom_ = out_.size();
        escape(false);
        return;
      case '[':
        atom_ = out_.size();
        character_class();
        return;
      case '(':
        open_group();
        return;
      case ')':
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        copy(1);
        return;
      case '{':
        if (!interval()) {
          atom_ = out_.size();
          out_.append("\\{");
          ++at_;
        }
        return;
      case '*':
      case '+':
      case '?':
        copy(1);
        return;
      default:
        atom_ = out_.size();
        copy(1);
        while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) copy(1);
    }
  }

  void escape(bool in_class) {
    if (at_ + 1 >= in_.size()) unsupported("a backslash without a character", at_);
    const char c = in_[at_ + 1];
    const auto set = [&](std::string_view members, bool negated) {
      at_ += 2;
      if (in_class) {
        if (negated) unsupported("a negated word or hex class inside [...]", at_ - 2);
        out_.append(members);
      } else {
        out_.append(negated ? "[^" : "[").append(members).append("]");
      }
    };
    switch (c) {
      case 's':
        return set(white_space, false);
      case 'S':
        if (!in_class) return set(white_space, true);
        at_ += 2;
        out_.append("\\P{White_Space}");
        return;
      case 'w':
        return set(in_class ? word : bare_word, false);
      case 'W':
        return set(in_class ? word : bare_word, true);
      case 'h':
        return set(hex_digit, false);
      case 'H':
        return set(hex_digit, true);
      case 'd':
      case 'D':
        at_ += 2;
        out_.append(c == 'd' ? "\\p{Nd}" : "\\P{Nd}");
        return;
      case 'b':
      case 'B':
        return in_class ? copy(2) : word_boundary(c == 'B');
      case 'u':
        return unicode_escape();
      case 'p':
      case 'P':
      case 'x':
        return braced_escape();
      default:
        if (std::string_view("CEGMNOQLUYyl").find(c) != std::string_view::npos) {
          unsupported(std::string("\\") + c, at_);
        }
        copy(2);
    }
  }

  void unicode_escape() {
    const std::string_view digits = in_.substr(at_ + 2, 4);
    for (const char digit : digits) {
      if (!std::isxdigit(static_cast<unsigned char>(digit)))
        unsupported("\\u without four digits", at_);
    }
    if (digits.size() < 4) unsupported("\\u without four digits", at_);
    out_.append("\\x{").append(digits).append("}");
    at_ += 6;
  }

  void braced_escape() {
    const size_t start = at_;
    copy(2);
    if (at_ < in_.size() && in_[at_] == '{') {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) unsupported("a brace without its end", at_);
      std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
      const bool negated = name.starts_with('^');
      if (negated) name.remove_prefix(1);
      out_.append(negated ? "{^" : "{")
          .append(is_script(name) ? "sc:" : "")
          .append(name)
          .append("}");
      at_ = end + 1;
    } else if (in_[start + 1] == 'x' && at_ < in_.size() && in_[at_] >= '8') {
      unsupported("a byte above 0x7F", start);  // \xHH means a byte there, a character here
    }
  }

  // A script's bare name: to PCRE2 all that is used with the script, to Oniguruma the script.
  static bool is_script(std::string_view name) {
    const std::string probe = "\\p{sc:" + std::string(name) + "}";
    int code = 0;
    size_t offset = 0;
    pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(probe.data()), probe.size(),
                                         PCRE2_UTF, &code, &offset, nullptr);
    pcre2_code_free(compiled);
    return compiled != nullptr;
  }

  void character_class() {
    copy(1);
    if (at_ < in_.size() && in_[at_] == '^') copy(1);
    if (at_ < in_.size() && in_[at_] == ']') copy(1);  // a literal bracket in first place, for both
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '\\') {
        escape(true);
      } else if (in_[at_] == '[') {
        posix_class();
      } else if (in_.substr(at_, 2) == "&&") {
        unsupported("an intersection of sets", at_);
      } else {
        copy(1);
      }
    }
    if (at_ >= in_.size()) unsupported("a set without its end", at_);
    copy(1);
  }

  void posix_class() {
    for (const auto& [name, members] : posix_classes) {
      if (!in_.substr(at_).starts_with(name)) continue;
      out_.append(members);
      at_ += name.size();
      return;
    }
    unsupported("a set of sets", at_);
  }

  // A place between a word character and another one, or (\B) between two of a kind.
  void word_boundary(bool negated) {
    const std::string behind = "(?<=[" + std::string(bare_word) + "])";
    const std::string not_behind = "(?<![" + std::string(bare_word) + "])";
    const std::string ahead = "(?=[" + std::string(bare_word) + "])";
    const std::string not_ahead = "(?![" + std::string(bare_word) + "])";
    out_.append("(?:" + behind + (negated ? ahead : not_ahead) + "|");
    out_.append(not_behind + (negated ? not_ahead : ahead) + ")");
    at_ += 2;
  }

  void open_group() {
    if (in_.substr(at_, 2) == "(*" || in_.substr(at_, 3) == "(?~" || in_.substr(at_, 3) == "(?C") {
      unsupported(in_.substr(at_, 3), at_);
    }
    groups_.push_back(out_.size());
    copy(1);
    if (at_ >= in_.size() || in_[at_] != '?') return;
    copy(1);
    if (in_.substr(at_, 1) == "<" || in_.substr(at_, 1) == "#") {
      // A name, a lookbehind or a comment: nothing in it is a flag.
      copy(1);
      return;
    }
    for (; at_ < in_.size() &&
           (std::isalpha(static_cast<unsigned char>(in_[at_])) || in_[at_] == '-');
         ++at_) {
      if (std::string_view("imx-").find(in_[at_]) == std::string_view::npos) {
        unsupported("an option other than i, m, x", at_);
      }
      out_.push_back(in_[at_] == 'm' ? 's' : in_[at_]);
    }
    if (at_ < in_.size() && in_[at_] != ')') {
      copy(1);  // : = ! > and so on
    } else if (groups_.back() != 0) {
      // There it takes the alternatives behind it into a group of their own, here it does not.
      unsupported("an option group without ':' in the middle", at_);
    }
  }

  // {n}, {n,}, {n,m}, {,m} and what follows; false if the brace is a plain character.
  bool interval() {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) return false;
    std::string body(in_.substr(at_ + 1, end - at_ - 1));
    const size_t comma = body.find(',');
    const bool digits_only = body.find_first_not_of("0123456789,") == std::string::npos;
    if (body.empty() || body == "," || !digits_only || comma != body.rfind(',')) return false;
    if (comma == 0) body = "0" + body;
    at_ = end + 1;
    const char next = at_ < in_.size() ? in_[at_] : '\0';
    if (next == '+' || (next == '?' && comma == std::string::npos)) {
      out_ = out_.substr(0, atom_) + "(?:" + out_.substr(atom_);
      out_.append("{").append(body).append("})").push_back(next);
      ++at_;
    } else {
      out_.append("{").append(body).append("}");
    }
    return true;
  }

  void copy(size_t count) {
    out_.append(in_.substr(at_, count));
    at_ += count;
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;
  std::vector<size_t> groups_;  // starts in out_ of the groups that are open
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern) {
  if (pattern.size() > max_pattern_bytes) {
    throw Error(ErrorKind::invalid_input, "the pattern has more than 65536 bytes");
  }
  return Translator(pattern).run();
}

}  // namespace qsweep::model::tok
