// qsweep generate: greedy continuation of a prompt, and the prompt's logits on request.
#include <charconv>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/options.hpp"
#include "app/study_config.hpp"
#include "base/error.hpp"
#include "model/model.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "record/logits_file.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;

struct Settings {
  std::string model, prompt, tokens, logits, study, config, compute = "auto", backend = "auto";
  int64_t max_new = 16;
  int threads = 0;
  bool help = false, ignore_eos = false, has_prompt = false, has_tokens = false;
};

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at <= end;) {
    int32_t id = 0;
    const auto [next, code] = std::from_chars(at, end, id);
    if (code != std::errc() || id < 0 || (next != end && *next != ',')) {
      throw_invalid("--tokens '" + text + "' is no list of token ids", "expected 1,2,3");
    }
    ids.push_back(id);
    at = next + 1;
  }
  return ids;
}

Settings parse(const Arguments& arguments) {
  Settings s;
  po::options_description options("qsweep generate: greedy continuation of a prompt");
  options.add_options()("model", po::value(&s.model),
                        "model folder (also one written by qsweep quantize) or hub id")(
      "prompt", po::value(&s.prompt), "text to continue")("tokens", po::value(&s.tokens),
                                                          "token ids to continue: 1,2,3")(
      "max-new", po::value(&s.max_new)->default_value(s.max_new), "tokens to generate")(
      "logits", po::value(&s.logits),
      "write /logits (positions x vocab, float32) of the prompt to this file")(
      "study", po::value(&s.study), "study that names the config")("config", po::value(&s.config),
                                                                   "config to quantize with")(
      "ignore-eos", po::bool_switch(&s.ignore_eos),
      "go on after an end token (always with --tokens)")(
      "backend", po::value(&s.backend)->default_value(s.backend), "auto, cpu or cuda")(
      "compute", po::value(&s.compute)->default_value(s.compute),
      "fp32 or bf16; auto is fp32 on the CPU, bf16 on the GPU")(
      "threads", po::value(&s.threads)->default_value(0, "all cores"), "threads");
  po::variables_map values;
  s.help = !parse_options(arguments, options, nullptr, &values);
  if (s.help) return s;
  s.has_prompt = values.count("prompt") > 0;
  s.has_tokens = values.count("tokens") > 0;
  if (s.model.empty()) throw_invalid("generate needs --model", "a folder or a hub id");
  if (s.has_prompt == s.has_tokens) {
    throw_invalid("generate needs one of --prompt and --tokens", "the text or the ids to continue");
  }
  if (s.max_new < 0 || s.max_new > (1 << 24))
    throw_invalid("--max-new is out of range", "0..16777216");
  return s;
}

std::vector<int32_t> continue_greedily(const device::Context& context, model::Model& model,
                                       std::span<const int32_t> prompt, const Settings& settings) {
  const model::ModelConfig& config = model::config_of(model);
  const auto state =
      model::make_state(model, static_cast<int64_t>(prompt.size()) + settings.max_new);
  std::vector<int32_t> generated;
  model::Chunk chunk{state.get(), prompt};
  if (!settings.logits.empty()) {
    const model::Matrix hidden = model::forward(context, model, {&chunk, 1});
    const model::Matrix logits =
        model::on_host(model::logits(context, model, hidden.data(), hidden.rows));
    record::write_logits(settings.logits, logits.data(), logits.rows, logits.cols);
    model::reset_state(*state);
  }
  while (static_cast<int64_t>(generated.size()) < settings.max_new) {
    const bool more = static_cast<int64_t>(generated.size()) + 1 < settings.max_new;
    generated.push_back(model::next_token(context, model, chunk, more));
    const bool ended =
        std::find(config.eos.begin(), config.eos.end(), generated.back()) != config.eos.end();
    if (ended && !settings.ignore_eos && !settings.has_tokens) break;
    chunk.tokens = {&generated.back(), 1};
  }
  return generated;
}

}  // namespace

int generate_command(const Arguments& arguments) {
  const Settings settings = parse(arguments);
  if (settings.help) return 0;
  const auto context = make_context(resolve(settings.backend, settings.compute),
                                    settings.threads != 0 ? settings.threads : threads_of_rank(1));
  const auto folder = model::resolve_model(settings.model, std::filesystem::current_path());
  const auto checkpoint = model::Checkpoint::open(folder);
  const StudyConfig wanted =
      config_of_study(settings.study, settings.config, checkpoint->config().is_ssm());
  // Beside the text, which goes to where it is read on.
  const auto tell = [](const std::string& line) { std::cerr << line << "\n"; };
  const auto model = build_model(wanted, checkpoint, context, tell);
  if (settings.has_tokens) {
    const std::vector<int32_t> prompt = parse_ids(settings.tokens);
    std::cout << nlohmann::json(continue_greedily(context, *model, prompt, settings)).dump()
              << "\n";
    return 0;
  }
  const auto tokenizer = model::Tokenizer::load(folder);
  const std::vector<int32_t> prompt = tokenizer.encode(settings.prompt, true);
  if (prompt.empty())
    throw_invalid("the prompt has no tokens", "nothing to continue", "give a longer --prompt");
  std::vector<int32_t> all = prompt;
  const std::vector<int32_t> generated = continue_greedily(context, *model, prompt, settings);
  all.insert(all.end(), generated.begin(), generated.end());
  // Decoded together: a single token may be a part of a character.
  std::cout << tokenizer.decode(all, true) << "\n";
  return 0;
}

}  // namespace qsweep::app
