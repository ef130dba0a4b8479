// How every sub-command reads its options.
#pragma once

#include <boost/program_options.hpp>

#include "app/commands.hpp"

namespace qsweep::app {

// Parses `arguments` into the variables that `visible` names and prints it where --help (added
// here) is given; false then: there is nothing more to do. `positional`: where the one argument
// without a name goes, or null. Throws boost::program_options::error.
bool parse_options(const Arguments& arguments, boost::program_options::options_description visible,
                   std::string* positional = nullptr,
                   boost::program_options::variables_map* values = nullptr);

}  // namespace qsweep::app
