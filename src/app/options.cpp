#include "app/options.hpp"

#include <iostream>

namespace qsweep::app {

namespace po = boost::program_options;

bool parse_options(const Arguments& arguments, po::options_description visible,
                   std::string* positional, po::variables_map* values) {
  bool help = false;
  visible.add_options()("help,h", po::bool_switch(&help), "print this text");
  po::options_description all;
  all.add(visible);
  po::positional_options_description places;
  if (positional != nullptr) {
    all.add_options()("argument", po::value(positional));
    places.add("argument", 1);
  }
  po::variables_map parsed;
  po::store(po::command_line_parser(arguments).options(all).positional(places).run(), parsed);
  po::notify(parsed);
  if (help) std::cout << visible;
  if (values != nullptr) *values = parsed;
  return !help;
}

}  // namespace qsweep::app
