#include "sweep/grammar/claims.hpp"

#include <algorithm>
#include <set>

#include "eval/workload.hpp"
#include "record/schema.hpp"
#include "sweep/grammar/configs.hpp"

namespace qsweep::sweep::grammar {
namespace {

constexpr double max_margin = 1e12;
constexpr size_t max_compared = 100;  // configs of one claim

// In file order for suggestions, and as a set to be looked up.
struct ConfigNames {
  std::vector<std::string> list;
  std::set<std::string> set;
};

ConfigNames config_names(const Study& study) {
  ConfigNames names;
  for (const quant::QuantConfig& config : study.configs) names.list.push_back(config.name);
  names.set.insert(names.list.begin(), names.list.end());
  return names;
}

// `{equivalent: [A, B]}`: which kind, and the list.
std::optional<std::pair<ClaimKind, const Node*>> kind_of(const Node& body, const std::string& what,
                                                         Faults& faults) {
  std::optional<std::pair<ClaimKind, const Node*>> found;
  for (const Entry& entry : body.entries) {
    const auto kind = parse_name<ClaimKind>(entry.key);
    if (!kind) continue;
    if (found) {
      faults.add(entry.place, what + " has two verdicts to reach", "one claim states one thing",
                 "make it two claims");
      return std::nullopt;
    }
    found = std::pair{*kind, &entry.value};
  }
  if (!found) {
    faults.add(body.place, what + " claims nothing", "",
               "name its configs under equivalent, ordered, not_worse or better");
  }
  return found;
}

void read_claim_configs(const Node& node, const std::string& what, const ConfigNames& known,
                        Claim& claim, Faults& faults) {
  const std::string here = what + "." + std::string(name_of(claim.kind));
  const std::vector<const Node*> items = read_list(node, here, faults);
  if (items.size() > max_compared) {
    faults.add(node.place, here + " names too many configs",
               "at most " + std::to_string(max_compared), "make it several claims");
    return;
  }
  for (const Node* item : items) {
    const std::string name = read_text(*item, here, faults);
    if (name.empty()) continue;
    if (!known.set.contains(name)) {
      faults.add(item->place, what + " names the unknown config '" + name + "'", "",
                 faults.enough() ? "" : suggest_word(name, known.list));
    } else if (std::find(claim.configs.begin(), claim.configs.end(), name) != claim.configs.end()) {
      faults.add(item->place, what + " names " + name + " twice", "",
                 "compare two different configs");
    }
    claim.configs.push_back(name);
  }
  const bool pair = claim.kind != ClaimKind::ordered;
  if (!items.empty() && (pair ? items.size() != 2 : items.size() < 2)) {
    faults.add(node.place, here + (pair ? " compares two configs" : " orders two or more configs"),
               "found " + std::to_string(items.size()));
  }
}

void read_margin(const MapReader& map, const Node& body, const std::string& what, Claim& claim,
                 Faults& faults) {
  const Node* within = map.find("within");
  const bool takes = claim.kind == ClaimKind::equivalent || claim.kind == ClaimKind::not_worse;
  if (within == nullptr) {
    if (claim.kind == ClaimKind::equivalent) {
      faults.add(body.place, what + " lacks the key 'within'",
                 "nothing is equivalent without a margin", "add for example within: 1%");
    }
    return;
  }
  if (!takes) {
    faults.add(within->place, what + ": within belongs to equivalent and not_worse", "",
               "remove it");
    return;
  }
  claim.within_relative = within->is_scalar() && within->text.ends_with('%');
  claim.within = read_real(*within, what + ".within", 0, max_margin, 0, faults, true);
}

void check_direction(const MapReader& map, const std::string& what, Claim& claim, Faults& faults) {
  const Node* direction = map.find("direction");
  if (direction == nullptr) return;
  if (claim.kind != ClaimKind::ordered) {
    faults.add(direction->place, what + ": direction belongs to ordered", "", "remove it");
    return;
  }
  claim.increasing = read_word(*direction, what + ".direction", {"increasing", "decreasing"},
                               faults) != "decreasing";
}

std::string kind_prefix(const std::string& metric) {
  return metric.substr(0, metric.find('.'));
}

void check_lengths(const Node& node, const std::string& what, const Study& study, Claim& claim,
                   Faults& faults) {
  claim.lengths = read_text(node, what + ".lengths", faults);
  std::vector<std::string> known;
  for (const Workload& workload : study.workloads) {
    if (name_of(workload.kind) != kind_prefix(claim.metric)) continue;
    for (const eval::Cell& cell : workload.cells) known.push_back(cell.lengths);
  }
  if (claim.lengths.empty() || std::find(known.begin(), known.end(), claim.lengths) != known.end())
    return;
  faults.add(node.place, what + ": no cell has the lengths '" + claim.lengths + "'", "",
             suggest_word(claim.lengths, known));
}

// "No worse" needs to know which way is worse.
void check_sense(const Node& node, const std::string& what, const Claim& claim, Faults& faults) {
  const auto* info = record::schema::find_metric(claim.metric);
  const bool one_sided = claim.kind == ClaimKind::not_worse || claim.kind == ClaimKind::better;
  if (info == nullptr || !one_sided || info->better != record::schema::Better::neither) return;
  faults.add(node.place, what + ": " + claim.metric + " is neither better low nor high", "",
             "use equivalent or ordered");
}

Claim read_claim(const Entry& entry, const Study& study, const ConfigNames& known, Faults& faults) {
  Claim claim;
  claim.name = entry.key;
  const std::string what = "claim " + entry.key;
  check_safe_name(entry.key, entry.place, "claim name", faults);
  const MapReader map(entry.value, what, claim_keys(), faults);
  if (!map.ok()) return claim;
  const auto kind = kind_of(entry.value, what, faults);
  if (!kind) return claim;
  claim.kind = kind->first;
  read_claim_configs(*kind->second, what, known, claim, faults);
  if (const Node* metric = map.need("metric")) {
    claim.metric = read_text(*metric, what + ".metric", faults);
    if (!claim.metric.empty() && check_metric(claim.metric, metric->place, what, study, faults)) {
      check_sense(*metric, what, claim, faults);
    }
  }
  read_margin(map, entry.value, what, claim, faults);
  check_direction(map, what, claim, faults);
  if (const Node* lengths = map.find("lengths"))
    check_lengths(*lengths, what, study, claim, faults);
  return claim;
}

}  // namespace

const std::vector<std::string>& claim_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> all = all_names<ClaimKind>();
    for (const char* key : {"metric", "within", "direction", "lengths"}) all.emplace_back(key);
    return all;
  }();
  return keys;
}

bool is_known_metric(const std::string& metric) {
  if (record::schema::find_metric(metric) != nullptr) return true;
  const size_t dot = metric.find('.');
  const auto kind = parse_name<eval::WorkloadKind>(kind_prefix(metric));
  return kind && !eval::available(*kind) && dot != std::string::npos && dot + 1 < metric.size();
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const auto& info : record::schema::metrics()) names.emplace_back(info.name);
  return names;
}

bool check_metric(const std::string& metric, const Place& place, const std::string& what,
                  const Study& study, Faults& faults) {
  const auto kind = parse_name<eval::WorkloadKind>(kind_prefix(metric));
  if (!is_known_metric(metric)) {
    faults.add(place, what + ": unknown metric '" + metric + "'", "",
               suggest_word(metric, metric_names()));
    return false;
  }
  for (const Workload& workload : study.workloads) {
    if (kind && workload.kind == *kind) return true;
  }
  faults.add(place, what + ": no workload measures " + metric,
             "the study has no workload of kind " + kind_prefix(metric), "add it to workloads");
  return false;
}

std::vector<Claim> read_claims(const Node& node, const Study& study, Faults& faults) {
  std::vector<Claim> claims;
  if (node.is_null()) return claims;
  if (!node.is_map()) {
    faults.add(node.place, "claims should be a map of names to claims", "found " + describe(node));
    return claims;
  }
  if (node.entries.size() > max_claims) {
    faults.add(node.place, "too many claims", "at most " + std::to_string(max_claims),
               "split the study");
    return claims;
  }
  const ConfigNames known = config_names(study);
  for (const Entry& entry : node.entries) claims.push_back(read_claim(entry, study, known, faults));
  return claims;
}

std::string claim_yaml(const Claim& claim) {
  std::string text = "{";
  text.append(name_of(claim.kind)).append(": [");
  for (size_t i = 0; i < claim.configs.size(); ++i)
    text += (i > 0 ? ", " : "") + text_yaml(claim.configs[i]);
  text += "], metric: " + text_yaml(claim.metric);
  if (claim.kind == ClaimKind::equivalent || claim.kind == ClaimKind::not_worse) {
    text += ", within: " +
            (claim.within_relative ? percent_text(claim.within) : number_text(claim.within));
  }
  if (claim.kind == ClaimKind::ordered) {
    text += std::string(", direction: ") + (claim.increasing ? "increasing" : "decreasing");
  }
  if (!claim.lengths.empty()) text += ", lengths: " + text_yaml(claim.lengths);
  return text + "}";
}

}  // namespace qsweep::sweep::grammar
