#include "sweep/grammar/workloads.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "sweep/grammar/claims.hpp"
#include "sweep/grammar/configs.hpp"
#include "sweep/grammar/workload_table.hpp"

namespace qsweep::sweep::grammar {
namespace {

using eval::WorkloadKind;
using nlohmann::json;

std::vector<std::string> split_words(std::string_view words) {
  std::vector<std::string> list;
  for (size_t begin = 0; begin < words.size();) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    list.emplace_back(words.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

json read_value(const Field& field, const Node& node, const std::string& what, Faults& faults) {
  const auto low = static_cast<int64_t>(field.min), high = static_cast<int64_t>(field.max);
  switch (field.type) {
    case FieldType::integer:
      return read_integer(node, what, low, high, std::max<int64_t>(low, 1), faults);
    case FieldType::real:
      return read_real(node, what, field.min, field.max, field.min, faults);
    case FieldType::flag:
      return read_flag(node, what, false, faults);
    case FieldType::text:
      return read_text(node, what, faults);
    case FieldType::word: {
      const std::vector<std::string> words = split_words(field.words);
      const std::string word = read_word(node, what, words, faults);
      return word.empty() ? words.front() : word;
    }
    case FieldType::integers: {
      json values = json::array();
      const std::vector<const Node*> items = read_list(node, what, faults);
      if (items.size() > max_cells) {
        faults.add(node.place, what + " has too many values",
                   "at most " + std::to_string(max_cells), "shorten the list");
        return values;
      }
      for (const Node* item : items) {
        values.push_back(read_integer(*item, what, low, high, 1, faults));
      }
      return values;
    }
  }
  return nullptr;
}

Node fallback_node(const Field& field, const Place& place) {
  Node node;
  node.kind = field.type == FieldType::integers ? Node::Kind::list : Node::Kind::scalar;
  node.place = place;
  node.text = field.fallback;
  if (!node.is_list()) return node;
  for (const std::string& word : split_words(field.fallback)) {
    Node item;
    item.kind = Node::Kind::scalar;
    item.text = word;
    item.place = place;
    node.items.push_back(std::move(item));
  }
  return node;
}

// The values of one field: several for an axis, one otherwise.
std::vector<json> read_field(const Field& field, const Node& node, const std::string& what,
                             Faults& faults) {
  if (!field.axis) return {read_value(field, node, what, faults)};
  const std::vector<const Node*> items = read_list(node, what, faults);
  if (items.size() > max_cells) {
    faults.add(node.place, what + " has too many values",
               "a study holds at most " + std::to_string(max_cells) + " cells", "shorten the list");
    return {};
  }
  std::vector<json> values;
  std::set<json> seen;
  for (const Node* item : items) {
    const size_t before = faults.count();
    json value = read_value(field, *item, what, faults);
    if (faults.count() == before && !seen.insert(value).second) {
      faults.add(item->place, what + " has " + describe(*item) + " twice", "", "remove one");
      continue;
    }
    values.push_back(std::move(value));
  }
  return values;
}

// What the fields of a kind mean together; mends `params` where a fault was told.
void check_together(WorkloadKind kind, const Node& body, const std::string& what, json& params,
                    Faults& faults) {
  if (kind == WorkloadKind::perplexity) {
    const Node* stride = body.find("stride");
    if (params["protocol"] == "disjoint") {
      if (stride != nullptr && params["stride"] != params["window"]) {
        faults.add(stride->place, what + ".stride has no meaning under disjoint",
                   "windows follow one another", "remove it");
      }
      params["stride"] = params["window"];
    } else if (params["stride"].get<int64_t>() > params["window"].get<int64_t>()) {
      faults.add(stride != nullptr ? stride->place : body.place,
                 what + ".stride " + params["stride"].dump() + " is longer than the window " +
                     params["window"].dump(),
                 "tokens between windows would not be scored",
                 "write a stride of at most the window");
    }
  }
  if (kind == WorkloadKind::sensitivity) {
    const std::string metric = params["metric"];
    const Node* node = body.find("metric");
    if (node != nullptr && !metric.empty() && !is_known_metric(metric)) {
      faults.add(node->place, what + ": unknown metric '" + metric + "'", "",
                 suggest_word(metric, metric_names()));
    }
  }
  if (kind == WorkloadKind::drift) {
    for (const json& at : params["at"]) {
      if (at.get<int64_t>() <= params["length"].get<int64_t>()) continue;
      faults.add(body.place,
                 what + ".at has " + at.dump() + " beyond the length " + params["length"].dump(),
                 "", "write it out with points inside the length");
    }
  }
}

// All combinations of the axes, the last axis fastest.
std::vector<json> combine(const std::vector<std::pair<std::string, std::vector<json>>>& fields,
                          size_t room) {
  std::vector<json> all = {json::object()};
  for (const auto& [param, values] : fields) {
    std::vector<json> longer;
    if (all.size() * values.size() > room) return {};
    for (const json& head : all) {
      for (const json& value : values) {
        longer.push_back(head);
        longer.back()[param] = value;
      }
    }
    all = std::move(longer);
  }
  return all;
}

void read_cells(const KindInfo& info, const Node& body, const std::string& what, size_t room,
                Workload& workload, Faults& faults) {
  std::vector<std::pair<std::string, std::vector<json>>> fields;
  for (const Field& field : info.fields) {
    const Node* node = body.find(std::string(field.key));
    const std::string here = what + "." + std::string(field.key);
    if (node == nullptr && field.fallback.empty()) {
      faults.add(body.place, what + " lacks the key '" + std::string(field.key) + "'", "",
                 "add it");
      return;
    }
    fields.emplace_back(
        field.param, read_field(field, node != nullptr ? *node : fallback_node(field, body.place),
                                here, faults));
    if (fields.back().second.empty()) return;
  }
  std::vector<json> combinations = combine(fields, room);
  if (combinations.empty()) {
    faults.add(body.place, what + " has too many combinations of lengths",
               "a study holds at most " + std::to_string(max_cells) + " cells",
               "shorten its lists");
  }
  for (json& params : combinations) {
    check_together(info.kind, body, what, params, faults);
    workload.cells.push_back(make_cell(info.kind, workload.name, params));
  }
}

// A bare list or word stands for the kind's main key.
Node long_form(const KindInfo& info, const Node& node) {
  if (node.is_map() || node.is_null() || info.list_key.empty()) return node;
  Node map;
  map.kind = Node::Kind::map;
  map.place = node.place;
  map.entries.push_back({std::string(info.list_key), node.place, node});
  return map;
}

std::optional<WorkloadKind> kind_of(const Entry& entry, const std::string& what, Faults& faults) {
  if (const Node* kind = entry.value.find("kind"))
    return read_name<WorkloadKind>(*kind, what + ".kind", faults);
  const auto kind = parse_name<WorkloadKind>(entry.key);
  if (!kind) {
    faults.add(entry.place, what + " is no kind of workload", "",
               suggest_word(entry.key, all_names<WorkloadKind>()) + " (or give it a kind:)");
  }
  return kind;
}

std::string value_yaml(const json& value) {
  if (value.is_string()) return text_yaml(value.get<std::string>());
  if (value.is_number_float()) return number_text(value.get<double>());
  if (!value.is_array()) return value.dump();
  std::string text = "[";
  for (const json& item : value) text += (text.size() > 1 ? ", " : "") + value_yaml(item);
  return text + "]";
}

}  // namespace

std::vector<Workload> read_workloads(const Node& node, Faults& faults) {
  std::vector<Workload> workloads;
  if (!node.is_map() || node.entries.empty()) {
    faults.add(node.place, "workloads should be a map of workloads", "found " + describe(node),
               "for example workloads: {perplexity: {data: wikitext2}}");
    return workloads;
  }
  size_t cells = 0;
  for (const Entry& entry : node.entries) {
    const std::string what = "workload " + entry.key;
    if (!check_safe_name(entry.key, entry.place, "workload name", faults)) continue;
    const auto kind = kind_of(entry, what, faults);
    if (!kind) continue;
    const KindInfo& info = kind_info(*kind);
    std::vector<std::string> keys = {"kind", "repeats"};
    for (const Field& field : info.fields) keys.emplace_back(field.key);
    const Node body = long_form(info, entry.value);
    const MapReader map(body, what, keys, faults);
    if (!map.ok()) continue;
    Workload workload{entry.key, *kind, std::nullopt, {}};
    if (const Node* repeats = map.find("repeats")) {
      workload.repeats = read_integer(*repeats, what + ".repeats", 1, max_repeats, 1, faults);
    }
    read_cells(info, body, what, max_cells - std::min(max_cells, cells), workload, faults);
    cells += workload.cells.size();
    workloads.push_back(std::move(workload));
  }
  return workloads;
}

std::string workload_yaml(const Workload& workload, int indent) {
  const std::string margin(static_cast<size_t>(indent), ' ');
  std::string text = margin + "kind: " + std::string(name_of(workload.kind)) + "\n";
  if (workload.repeats) text += margin + "repeats: " + std::to_string(*workload.repeats) + "\n";
  std::vector<json> params;
  for (const eval::Cell& cell : workload.cells) params.push_back(params_of(cell));
  for (const Field& field : kind_info(workload.kind).fields) {
    if (params.empty()) break;
    // A disjoint protocol's stride is its window's, and follows from it.
    if (field.key == "stride" && params[0].contains("protocol") &&
        params[0]["protocol"] == "disjoint")
      continue;
    json values = json::array();
    for (const json& one : params) {
      const json& value = one.at(std::string(field.param));
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
    text +=
        margin + std::string(field.key) + ": " + value_yaml(field.axis ? values : values[0]) + "\n";
  }
  return text;
}

}  // namespace qsweep::sweep::grammar
