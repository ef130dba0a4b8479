// Publishers' files into one form: a JSON object a line. What a line holds, by conversion:
//   rows      {"text"}: the lines of a text with their line end; blank ones are ""
//   choice    {"id", "question", "choices", "answer"}: answer is an index from 0
//   hellaswag {"id", "activity", "ctx_a", "ctx_b", "choices", "answer"}
//   gsm8k     {"id", "question", "answer"}: answer with its working, ending in "#### N"
//   lambada   {"id", "text"}
//   squad     {"id", "title", "context", "question", "answers", "starts"}
// Texts are kept as published; what a prompt makes of them is the evaluation's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/names.hpp"

namespace qsweep::stage {

enum class Conversion { rows, choice, hellaswag, gsm8k, lambada, squad };

struct Converted {
  std::string jsonl;
  size_t rows = 0;
};

// `name` begins the ids of items that have none. Throws Error{invalid_input} that names `place` and
// the line where the text is not what it should be; an empty one is refused too.
Converted convert(Conversion conversion, std::string_view text, const std::string& name,
                  const std::string& place);

}  // namespace qsweep::stage

template <>
inline constexpr auto qsweep::enum_names<qsweep::stage::Conversion> =
    std::to_array<qsweep::NamePair<qsweep::stage::Conversion>>(
        {{qsweep::stage::Conversion::rows, "rows"},
         {qsweep::stage::Conversion::choice, "choice"},
         {qsweep::stage::Conversion::hellaswag, "hellaswag"},
         {qsweep::stage::Conversion::gsm8k, "gsm8k"},
         {qsweep::stage::Conversion::lambada, "lambada"},
         {qsweep::stage::Conversion::squad, "squad"}});
