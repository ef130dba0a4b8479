#include <boost/program_options/errors.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <map>
#include <new>

#include "app/commands.hpp"
#include "base/error.hpp"
#include "record/build_info.hpp"

namespace qsweep::app {
namespace {

using Command = int (*)(const Arguments&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"tokenize", tokenize_command},     {"generate", generate_command},
      {"quantize", quantize_command},     {"inspect", inspect_command},
      {"status", status_command},         {"doctor", doctor_command},
      {"make-model", make_model_command},
  };
  return table;
}

int dispatch(Arguments arguments) {
  if (!arguments.empty()) {
    const auto found = commands().find(arguments.front());
    if (found != commands().end()) {
      arguments.erase(arguments.begin());
      return found->second(arguments);
    }
  }
  return sweep_command(arguments);
}

int report(const std::string& message, int code) {
  std::cout.flush();
  std::cerr << "qsweep: " << message << "\n";
  return code;
}

}  // namespace

std::string version_text() {
  const record::BuildInfo& build = record::build_info();
  return "qsweep " + build.version + ", commit " + build.git_commit.substr(0, 12) +
         (build.git_dirty == 1 ? " (modified), " : ", ") + build.compiler;
}

int run(int argc, char** argv) {
  try {
    return dispatch(Arguments(argv + 1, argv + argc));
  } catch (const Error& error) {
    return report(error.what(), exit_code(error.kind()));
  } catch (const boost::program_options::error& error) {
    return report(std::string(error.what()) + " (wrong usage) see qsweep --help", 2);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

}  // namespace qsweep::app
