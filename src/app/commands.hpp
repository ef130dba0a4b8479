// One function a command: parses its own options, does the work, prints, returns the exit code.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace qsweep::app {

using Arguments = std::vector<std::string>;  // without the program's and the command's name

int sweep_command(const Arguments& arguments);
int tokenize_command(const Arguments& arguments);
int generate_command(const Arguments& arguments);
int quantize_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int status_command(const Arguments& arguments);
int doctor_command(const Arguments& arguments);
int make_model_command(const Arguments& arguments);

// Runs the command that the first argument names (a study's sweep if none), turns exceptions into
// messages on stderr and documented exit codes.
int run(int argc, char** argv);

// Says on stderr what ended a command; the code is handed back.
int report(const std::string& message, int code);

// "qsweep 0.1.0, commit 0123456789ab (modified), GNU 12.2.0".
std::string version_text();

}  // namespace qsweep::app
