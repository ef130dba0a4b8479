// model::parse_config_text: config.json of every family, with rope scaling, end tokens and JSON as
// Python writes it.
//
// Input: the text of config.json.
// Promise: an accepted shape is inside its bounds, and the sums that size memory do not overflow.
#include "fuzz/fuzz.hpp"
#include "model/config.hpp"

namespace {

void check(const std::string& text) {
  using qsweep::fuzz::hold;
  const qsweep::model::ModelConfig config = qsweep::model::parse_config_text(text, "config.json");
  hold(config.layers > 0 && config.hidden > 0 && config.vocab > 0, "sizes are positive");
  hold(config.parameters() > 0, "the number of parameters is a number");
  hold(config.kv_elements_per_token() >= 0, "so is the size of the cache");
  if (config.is_ssm()) return;
  hold(config.heads % config.kv_heads == 0 && config.head_dim % 2 == 0, "heads divide");
  hold(config.rope.theta > 0 && config.rope.attention_factor > 0, "rotation is defined");
  for (const int64_t eos : config.eos) hold(eos >= 0 && eos < config.vocab, "ends are tokens");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(qsweep::fuzz::as_text(data, size));
  qsweep::fuzz::accepted([&] { check(text); });
  return 0;
}
