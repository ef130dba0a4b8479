// qsweep make-model: a random checkpoint of a published shape.
#include <fmt/format.h>
#include <iostream>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "model/make_model.hpp"

namespace qsweep::app {

namespace po = boost::program_options;

int make_model_command(const Arguments& arguments) {
  std::string shape, out;
  uint64_t seed = 1;
  po::options_description options(
      "qsweep make-model: a random checkpoint of a published shape, for measuring speed");
  options.add_options()("shape", po::value(&shape),
                        "short name (phi-3.5-mini, llama-3.2-1b, ...) or hub id")(
      "out", po::value(&out), "folder to write")("seed", po::value(&seed)->default_value(seed),
                                                 "same seed, same bytes");
  if (!parse_options(arguments, options)) return 0;
  if (shape.empty() || out.empty()) {
    throw_invalid("make-model needs --shape and --out", "one of them is missing");
  }
  const model::ModelConfig* config = model::published_shape(shape);
  if (config == nullptr) {
    const auto known = model::published_shape_names();
    const std::string near = nearest_word(shape, known);
    throw_invalid("unknown shape '" + shape + "'",
                  fmt::format("known are {}", fmt::join(known, ", ")),
                  near.empty() ? "" : "did you mean " + near + "?");
  }
  const model::MadeModel made = model::make_model(*config, seed, out);
  std::cout << fmt::format("wrote {}: {} parameters, {:.2f} GB in {} shard(s)\n", out,
                           made.parameters, static_cast<double>(made.bytes) * 1e-9, made.shards);
  return 0;
}

}  // namespace qsweep::app
