// qsweep quantize: a checkpoint folder with packed (or dequantized) weights, which generate and
// studies load.
#include <filesystem>
#include <iostream>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/options.hpp"
#include "app/study_config.hpp"
#include "base/error.hpp"
#include "model/model.hpp"
#include "model/quantized_io.hpp"

namespace qsweep::app {
namespace po = boost::program_options;
namespace fs = std::filesystem;

int quantize_command(const Arguments& arguments) {
  std::string model_name, study, config_name, out;
  int threads = 0;
  bool dequantized = false;
  po::options_description options("qsweep quantize: write a quantized checkpoint");
  options.add_options()("model", po::value(&model_name), "model folder or hub id")(
      "study", po::value(&study), "study that names the config")("config", po::value(&config_name),
                                                                 "config to quantize with")(
      "out", po::value(&out), "folder to write; must not exist or be empty")(
      "dequantized", po::bool_switch(&dequantized),
      "ordinary fp32 tensors under the model's own names")(
      "threads", po::value(&threads)->default_value(0, "all cores"), "threads");
  if (!parse_options(arguments, options)) return 0;
  if (model_name.empty() || study.empty() || config_name.empty() || out.empty()) {
    throw_invalid("quantize needs --model, --study, --config and --out", "one of them is missing");
  }
  if (fs::exists(out) && !fs::is_empty(out)) {
    throw_invalid("the folder " + out + " is not empty", "nothing is overwritten",
                  "choose another --out");
  }
  const auto context = make_context({}, threads != 0 ? threads : threads_of_rank(1));
  const auto checkpoint =
      model::Checkpoint::open(model::resolve_model(model_name, fs::current_path()));
  const StudyConfig wanted = config_of_study(study, config_name, checkpoint->config().is_ssm());
  const auto tell = [](const std::string& line) { std::cout << line << "\n"; };
  model::LoadReport report;
  const auto model = build_model(wanted, checkpoint, context, tell, &report);
  model::write_quantized(*model, *checkpoint, wanted.config, out, dequantized, report);
  std::cout << "wrote " << out << ": " << report.errors.size() << " linears quantized in "
            << report.quantize_seconds << " s\n";
  if (dequantized && quant::has_scales(wanted.config.activations.id)) {
    std::cout << "note: an ordinary checkpoint says nothing of activations: who reads this one "
                 "multiplies inputs as they are\n";
  }
  return 0;
}

}  // namespace qsweep::app
