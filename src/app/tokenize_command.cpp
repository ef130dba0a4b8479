// qsweep tokenize --model DIR [--special] [--decode]: JSON lines on stdin, JSON lines on stdout.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "model/checkpoint.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;
using nlohmann::json;

constexpr size_t max_line_bytes = 256u << 20;

// The next line; false at the end. A longer one is refused before it fills the memory.
bool read_line(std::istream& in, std::string& line, size_t number) {
  using Traits = std::istream::traits_type;
  line.clear();
  for (int c = in.rdbuf()->sbumpc(); c != Traits::eof(); c = in.rdbuf()->sbumpc()) {
    if (c == '\n') return true;
    if (line.size() == max_line_bytes) {
      throw_invalid("stdin:" + std::to_string(number) + ": the line is too long",
                    "at most " + std::to_string(max_line_bytes) + " bytes");
    }
    line.push_back(Traits::to_char_type(c));
  }
  return !line.empty();
}

json parse_line(const std::string& line, size_t number) {
  const json value = json::parse(line, nullptr, false);
  if (value.is_discarded()) {
    throw_invalid("stdin:" + std::to_string(number) + ": not JSON",
                  "one JSON value a line is read");
  }
  return value;
}

json encode_line(const model::Tokenizer& tokenizer, const json& value, bool special,
                 size_t number) {
  if (!value.is_string())
    throw_invalid("stdin:" + std::to_string(number) + ": expected a JSON string",
                  value.type_name());
  return tokenizer.encode(value.get_ref<const std::string&>(), special);
}

json decode_line(const model::Tokenizer& tokenizer, const json& value, bool special,
                 size_t number) {
  const bool ids =
      value.is_array() && std::all_of(value.begin(), value.end(), [](const json& id) {
        return id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() < 2147483648.0;
      });
  if (!ids)
    throw_invalid("stdin:" + std::to_string(number) + ": expected a JSON array of token ids",
                  value.type_name());
  return tokenizer.decode(value.get<std::vector<int32_t>>(), special);
}

}  // namespace

int tokenize_command(const Arguments& arguments) {
  std::string model_name;
  bool special = false, decode = false, skip = false;
  po::options_description options(
      "qsweep tokenize: JSON strings, one a line, to JSON arrays of ids");
  options.add_options()("model", po::value(&model_name), "model folder or hub id")(
      "special", po::bool_switch(&special),
      "add the special tokens that the tokenizer adds by default")(
      "decode", po::bool_switch(&decode), "JSON arrays of ids to JSON strings")(
      "skip-special", po::bool_switch(&skip), "with --decode: leave special tokens out");
  if (!parse_options(arguments, options)) return 0;
  if (model_name.empty())
    throw_invalid("tokenize needs --model", "a folder with tokenizer.json, or a hub id");
  const auto tokenizer =
      model::Tokenizer::load(model::resolve_model(model_name, std::filesystem::current_path()));
  std::string line;
  for (size_t number = 1; read_line(std::cin, line, number); ++number) {
    if (line.empty()) continue;
    const json value = parse_line(line, number);
    const json result = decode ? decode_line(tokenizer, value, skip, number)
                               : encode_line(tokenizer, value, special, number);
    std::cout << result.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  }
  return 0;
}

}  // namespace qsweep::app
