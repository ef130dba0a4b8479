// A config's sweep over variables, expanded on the tree so that variables may stand in any value.
#include "base/files.hpp"
#include "sweep/grammar/configs.hpp"
#include "sweep/grammar/read.hpp"

namespace qsweep::sweep::grammar {
namespace {

constexpr size_t max_variables = 16;  // of one config

struct Variable {
  std::string name;
  Place place;
  std::vector<std::string> values;
  bool used = false;
};

std::vector<Variable> read_variables(const Node& sweep, const std::string& what, Faults& faults) {
  std::vector<Variable> variables;
  if (!sweep.is_map() || sweep.entries.empty()) {
    faults.add(sweep.place, what + " should be a map of variables to lists",
               "found " + describe(sweep), "for example sweep: {m: [0, 3, 5]}");
    return variables;
  }
  if (sweep.entries.size() > max_variables) {
    faults.add(sweep.place, what + " has too many variables",
               "at most " + std::to_string(max_variables), "split the config");
    return variables;
  }
  for (const Entry& entry : sweep.entries) {
    check_safe_name(entry.key, entry.place, what + ": variable", faults);
    Variable variable{entry.key, entry.place, {}, false};
    std::set<std::string> seen;
    for (const Node* item : read_list(entry.value, what + "." + entry.key, faults)) {
      const std::string value = read_safe_name(*item, what + "." + entry.key + ": value", faults);
      if (!value.empty() && !seen.insert(value).second) {
        faults.add(item->place, what + "." + entry.key + " has " + value + " twice", "",
                   "remove one");
      }
      if (!value.empty()) variable.values.push_back(value);
    }
    variables.push_back(std::move(variable));
  }
  return variables;
}

// Replaces "{name}" by the chosen value in every text below `node`.
void substitute(Node& node, std::vector<Variable>& variables, const std::vector<size_t>& choice,
                const std::string& what, Faults& faults) {
  for (Node& item : node.items) substitute(item, variables, choice, what, faults);
  for (Entry& entry : node.entries) substitute(entry.value, variables, choice, what, faults);
  if (!node.is_scalar() || node.text.find('{') == std::string::npos) return;
  if (node.text.size() > max_text_bytes) return;  // who reads it will refuse it
  for (size_t v = 0; v < variables.size(); ++v) {
    const std::string mark = "{" + variables[v].name + "}";
    for (size_t at = node.text.find(mark); at != std::string::npos; at = node.text.find(mark, at)) {
      const std::string& value = variables[v].values[choice[v]];
      node.text.replace(at, mark.size(), value);
      at += value.size();
      variables[v].used = true;
    }
  }
  if (node.text.find('{') != std::string::npos) {
    faults.add(node.place, what + ": unknown variable in " + describe(node), "",
               "name it under sweep");
  }
}

// Values and bytes of text below a node, itself included.
void measure(const Node& node, size_t& values, size_t& bytes) {
  ++values;
  bytes += node.text.size();
  for (const Node& item : node.items) measure(item, values, bytes);
  for (const Entry& entry : node.entries) {
    bytes += entry.key.size();
    measure(entry.value, values, bytes);
  }
}

bool take(Room& room, const Node& body, size_t combinations) {
  size_t values = 0, bytes = 0;
  measure(body, values, bytes);
  if (values > room.values / combinations || bytes > room.bytes / combinations) return false;
  room.values -= values * combinations;
  room.bytes -= bytes * combinations;
  return true;
}

// Advances the odometer, last variable fastest; false after the last combination.
bool advance(std::vector<size_t>& choice, const std::vector<Variable>& variables) {
  for (size_t v = variables.size(); v-- > 0;) {
    if (++choice[v] < variables[v].values.size()) return true;
    choice[v] = 0;
  }
  return false;
}

}  // namespace

std::vector<Expanded> expand_sweep(const Entry& config, Room& room, Faults& faults) {
  const std::string what = "config " + config.key;
  const Node* sweep = config.value.find("sweep");
  if (sweep == nullptr) return {{config.key, config.value}};
  std::vector<Variable> variables = read_variables(*sweep, what + ".sweep", faults);
  size_t combinations = 1;
  for (const Variable& variable : variables) {
    const size_t count = variable.values.size();
    combinations = count == 0 || combinations > room.configs / count + 1 ? room.configs + 1
                                                                         : combinations * count;
    if (count == 0) return {};
  }
  if (variables.empty()) return {};
  if (combinations > room.configs) {
    faults.add(sweep->place, what + ".sweep has too many combinations",
               "a study holds at most " + std::to_string(max_configs) + " configs",
               "shorten its lists");
    return {};
  }
  Node body = config.value;
  std::erase_if(body.entries, [](const Entry& entry) { return entry.key == "sweep"; });
  if (!take(room, body, combinations)) {
    faults.add(sweep->place, what + ".sweep has too many combinations of a long config",
               "a study's sweeps expand to at most " + std::to_string(Room().values) +
                   " values and " + std::to_string(Room().bytes) + " bytes",
               "shorten its lists, or the config");
    return {};
  }
  std::vector<Expanded> expanded;
  std::vector<size_t> choice(variables.size(), 0);
  do {
    Expanded one{config.key, body};
    for (size_t v = 0; v < variables.size(); ++v) {
      one.name += "_" + variables[v].name + variables[v].values[choice[v]];
    }
    substitute(one.body, variables, choice, what, faults);
    expanded.push_back(std::move(one));
  } while (advance(choice, variables));
  for (const Variable& variable : variables) {
    if (variable.used) continue;
    faults.add(variable.place, what + ".sweep: nothing uses the variable " + variable.name, "",
               "write \"{" + variable.name + "}\" in a value");
  }
  return expanded;
}

}  // namespace qsweep::sweep::grammar
