// A config's sweep over variables, expanded on the tree so that variables may stand in any value.
#include "base/files.hpp"
#include "sweep/grammar/configs.hpp"

namespace qsweep::sweep::grammar {
namespace {

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

// Advances the odometer, last variable fastest; false after the last combination.
bool advance(std::vector<size_t>& choice, const std::vector<Variable>& variables) {
  for (size_t v = variables.size(); v-- > 0;) {
    if (++choice[v] < variables[v].values.size()) return true;
    choice[v] = 0;
  }
  return false;
}

}  // namespace

std::vector<Expanded> expand_sweep(const Entry& config, size_t room, Faults& faults) {
  const std::string what = "config " + config.key;
  const Node* sweep = config.value.find("sweep");
  if (sweep == nullptr) return {{config.key, config.value}};
  std::vector<Variable> variables = read_variables(*sweep, what + ".sweep", faults);
  size_t combinations = 1;
  for (const Variable& variable : variables) {
    const size_t count = variable.values.size();
    combinations = count == 0 || combinations > room / count + 1 ? room + 1 : combinations * count;
    if (count == 0) return {};
  }
  if (variables.empty()) return {};
  if (combinations > room) {
    faults.add(sweep->place, what + ".sweep has too many combinations",
               "a study holds at most " + std::to_string(max_configs) + " configs",
               "shorten its lists");
    return {};
  }
  Node body = config.value;
  std::erase_if(body.entries, [](const Entry& entry) { return entry.key == "sweep"; });
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
