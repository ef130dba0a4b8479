// --prep-only where there is internet: models and datasets of a study into the local caches.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sweep/plan/plan.hpp"

namespace qsweep::app {

// Tells what it will download and where the room is, does it, tells what it cost. Throws what could
// not be had; what was, stays for the next try.
void stage_inputs(const sweep::Study& study);

// Tokenizes the texts of the planned runs, so that no rank has to.
void prepare_tokens(const sweep::Plan& plan);

// Runs `work`; where it throws Error{invalid_input} and the study has something that is not staged,
// the message gains what that is and the command that brings it.
void with_prep_advice(const sweep::Study& study, const std::string& prep_command,
                      const std::function<void()>& work);

// The command line that stages what `arguments` would sweep, quoted for a shell.
std::string prep_command(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace qsweep::app
