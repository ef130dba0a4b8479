#include <unistd.h>

#include <boost/program_options/errors.hpp>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>

#include "app/commands.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
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

// A file that is shortened while it is mapped ends the process wherever its bytes are read next.
// There is no going on, but the file can be named. Only what POSIX allows in a handler is called.
extern "C" void on_bus_error(int, siginfo_t* info, void*) {
  const auto say = [](const char* text) {
    const ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
    static_cast<void>(ignored);
  };
  const char* file = mapped_file_at(info->si_addr);
  say("qsweep: cannot read ");
  say(file != nullptr ? file : "memory");
  say(" (it was shortened while it was in use, or its disk failed) put it back and start again\n");
  ::_exit(exit_code(ErrorKind::io));
}

void tell_broken_mappings() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

std::string version_text() {
  const record::BuildInfo& build = record::build_info();
  return "qsweep " + build.version + ", commit " + build.git_commit.substr(0, 12) +
         (build.git_dirty == 1 ? " (modified), " : ", ") + build.compiler;
}

int report(const std::string& message, int code) {
  std::cout.flush();
  std::cerr << "qsweep: " << message << std::endl;
  return code;
}

int run(int argc, char** argv) {
  tell_broken_mappings();
  try {
    return dispatch(Arguments(argv + 1, argv + argc));
  } catch (const Error& error) {
    return report(error.what(), exit_code(error.kind()));
  } catch (const boost::program_options::error& error) {
    return report(std::string(error.what()) + " (wrong usage) see qsweep --help", 2);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(file_error_text(error), exit_code(ErrorKind::io));
  } catch (const std::bad_alloc&) {
    return report("out of memory (this needs more than the machine gives) try smaller lengths", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

}  // namespace qsweep::app
