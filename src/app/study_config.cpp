#include "app/study_config.hpp"

#include "base/error.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::app {

quant::QuantConfig config_of_study(const std::string& study_file, const std::string& name,
                                   bool ssm) {
  if (study_file.empty() != name.empty()) {
    throw_invalid("--study and --config belong together", "a config is named inside a study");
  }
  if (study_file.empty()) return {};
  const sweep::Study study = sweep::read_study(study_file);
  std::vector<std::string> known;
  for (const quant::QuantConfig& config : study.configs) {
    if (config.name == name) {
      const std::string problem = quant::config_problem(config, ssm);
      if (!problem.empty())
        throw Error(ErrorKind::unavailable, "config " + name + " cannot run", problem);
      return config;
    }
    known.push_back(config.name);
  }
  const std::string near = nearest_word(name, known);
  std::string list;
  for (const std::string& word : known) list += (list.empty() ? "" : ", ") + word;
  throw_invalid("the study has no config '" + name + "'", "known are " + list,
                near.empty() ? "" : "did you mean '" + near + "'?");
}

}  // namespace qsweep::app
