// manifests/plan.json: written from a plan, read back as what it is then: a file that anybody may
// have edited.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "model/tokenizer/strict_json.hpp"
#include "record/schema.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {
namespace {

using nlohmann::json;

constexpr uint64_t max_manifest_bytes = 1ull << 30;
constexpr size_t max_entries = 1000000;
constexpr size_t max_text = 4096;

json claim_json(const Claim& claim) {
  return {{"name", claim.name},
          {"kind", name_of(claim.kind)},
          {"configs", claim.configs},
          {"metric", claim.metric},
          {"within", claim.within},
          {"within_relative", claim.within_relative},
          {"increasing", claim.increasing},
          {"lengths", claim.lengths}};
}

// Values out of a JSON object, checked; `where` names the place in messages.
class Fields {
 public:
  Fields(const json& object, std::string file, std::string where)
      : object_(object), file_(std::move(file)), where_(std::move(where)) {
    if (!object.is_object()) fail("should be an object");
  }
  [[noreturn]] void fail(const std::string& problem) const {
    throw_invalid(file_ + ": " + where_ + " " + problem,
                  "the manifest is damaged or of another version",
                  "plan the study into a new run folder");
  }
  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(std::string("lacks the key '") + key + "'");
    return *found;
  }
  std::string text(const char* key) const { return as_text(at(key), key); }
  std::string as_text(const json& value, const char* key) const {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > max_text) {
      fail(std::string("has a key '") + key + "' that is no short text");
    }
    return value.get<std::string>();
  }
  std::string name(const char* key) const {
    const std::string value = text(key);
    if (!is_safe_name(value))
      fail(std::string("has a key '") + key + "' that cannot name a folder");
    return value;
  }
  // A name, or empty for "all".
  std::string name_or_all(const char* key) const {
    return text(key).empty() ? std::string() : name(key);
  }
  double real(const char* key) const {
    const json& value = at(key);
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0) {
      fail(std::string("has a key '") + key + "' that is no number from 0 on");
    }
    return value.get<double>();
  }
  int64_t integer(const char* key, int64_t max) const {
    const json& value = at(key);
    const bool whole = value.is_number_integer() &&
                       (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
    if (!whole || value.get<int64_t>() < 0 || value.get<int64_t>() > max) {
      fail(std::string("has a key '") + key + "' that is no whole number from 0 to " +
           std::to_string(max));
    }
    return value.get<int64_t>();
  }
  bool flag(const char* key) const {
    if (!at(key).is_boolean())
      fail(std::string("has a key '") + key + "' that is not true or false");
    return at(key).get<bool>();
  }
  bool flag_or(const char* key, bool otherwise) const {
    return object_.contains(key) ? flag(key) : otherwise;
  }
  const json& list(const char* key) const {
    const json& value = at(key);
    if (!value.is_array() || value.size() > max_entries)
      fail(std::string("has a key '") + key + "' that is no list in bounds");
    return value;
  }
  Fields item(const char* key, size_t i) const {
    return {list(key)[i], file_, std::string(key) + "[" + std::to_string(i) + "]"};
  }

 private:
  const json& object_;
  std::string file_, where_;
};

Claim read_claim(const Fields& fields) {
  Claim claim;
  claim.name = fields.name("name");
  const auto kind = parse_name<ClaimKind>(fields.text("kind"));
  if (!kind) fields.fail("has an unknown kind");
  claim.kind = *kind;
  for (const json& config : fields.list("configs"))
    claim.configs.push_back(fields.as_text(config, "configs"));
  if (claim.configs.size() < 2) fields.fail("compares less than two configs");
  claim.metric = fields.text("metric");
  claim.within = fields.real("within");
  claim.within_relative = fields.flag("within_relative");
  claim.increasing = fields.flag("increasing");
  claim.lengths = fields.text("lengths");
  return claim;
}

bool is_run_id(const std::string& id) {
  return id.size() == 16 && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

PlanManifest::Entry read_run(const Fields& fields, const std::set<std::string>& configs) {
  PlanManifest::Entry run;
  run.id = fields.text("id");
  if (!is_run_id(run.id)) fields.fail("has an id that is not 16 hexadecimal digits");
  run.config = fields.name("config");
  if (!configs.contains(run.config)) fields.fail("is of the unknown config " + run.config);
  run.workload = fields.name("workload");
  run.lengths = fields.name("lengths");
  run.kind = fields.text("kind");
  if (!parse_name<eval::WorkloadKind>(run.kind)) fields.fail("is of an unknown workload kind");
  run.repeat = fields.integer("repeat", 1000000);
  run.cost = fields.real("cost");
  run.sentinel = fields.flag_or("sentinel", false);
  run.path = fields.text("path");
  // The path follows from the names, so no other can stand here and none leaves the folder.
  const std::string expected = "results/" + run.config + "/" + run.workload + "/" + run.lengths +
                               "/r" + std::to_string(run.repeat) + ".h5";
  if (run.path != expected)
    fields.fail("has the path '" + run.path.substr(0, 200) + "', expected " + expected);
  return run;
}

void read_configs(const Fields& root, PlanManifest& manifest) {
  for (size_t i = 0; i < root.list("configs").size(); ++i) {
    const Fields fields = root.item("configs", i);
    manifest.configs.push_back(fields.name("name"));
    manifest.duplicate_of.push_back(fields.name_or_all("duplicate_of"));
  }
  const std::set<std::string> names(manifest.configs.begin(), manifest.configs.end());
  if (names.size() != manifest.configs.size()) root.fail("names a config twice");
  for (const std::string& original : manifest.duplicate_of) {
    if (!original.empty() && !names.contains(original))
      root.fail("duplicates the unknown config " + original);
  }
  manifest.baseline = root.name("baseline");
  if (!names.contains(manifest.baseline)) root.fail("has a baseline that is none of its configs");
}

json parse_manifest(const std::filesystem::path& file) {
  return model::tok::parse_strict_json(read_file(file, max_manifest_bytes), file.string(),
                                       max_manifest_bytes);
}

}  // namespace

std::string claims_hash(const std::vector<Claim>& claims) {
  std::vector<json> list;
  for (const Claim& claim : claims) list.push_back(claim_json(claim));
  // By name, so that reordering the file is no new registration.
  std::sort(list.begin(), list.end(),
            [](const json& a, const json& b) { return a.at("name") < b.at("name"); });
  return sha256_hex(std::string_view(json(list).dump()));
}

json plan_to_json(const Plan& plan) {
  json configs = json::array(), cells = json::array(), runs = json::array(),
       refusals = json::array(), claims = json::array();
  for (const quant::QuantConfig& config : plan.study.configs) {
    configs.push_back({{"name", config.name},
                       {"duplicate_of", config.duplicate_of},
                       {"config", quant::to_json(config)}});
  }
  for (const eval::Cell& cell : plan.cells) cells.push_back(eval::to_json(cell));
  for (const Run& run : plan.runs) {
    const eval::Cell& cell = plan.cells[run.cell];
    runs.push_back({{"id", run.id},
                    {"config", plan.study.configs[run.config].name},
                    {"workload", cell.workload},
                    {"lengths", cell.lengths},
                    {"kind", name_of(cell.kind)},
                    {"repeat", run.repeat},
                    {"cost", run.cost},
                    {"path", run.path}});
    if (run.sentinel) runs.back()["sentinel"] = true;
  }
  for (const Refusal& refusal : plan.refusals) {
    refusals.push_back({{"config", refusal.config},
                        {"workload", refusal.workload},
                        {"lengths", refusal.lengths},
                        {"reason", refusal.reason}});
  }
  for (const Claim& claim : plan.study.claims) claims.push_back(claim_json(claim));
  return {{"schema_version", record::schema::version},
          {"study", plan.study.name},
          {"model", plan.study.model},
          {"model_fingerprint", plan.model_fingerprint},
          {"baseline", plan.study.baseline},
          {"seed", plan.study.seed},
          {"weight_bytes_max", plan.weight_bytes_max},
          {"peak_bytes", plan.peak_bytes},
          {"configs", std::move(configs)},
          {"cells", std::move(cells)},
          {"runs", std::move(runs)},
          {"refusals", std::move(refusals)},
          {"claims", std::move(claims)},
          {"claims_hash", claims_hash(plan.study.claims)}};
}

PlanManifest read_plan_manifest(const std::filesystem::path& plan_json) {
  const json document = parse_manifest(plan_json);
  const Fields root(document, plan_json.string(), "the plan");
  if (root.integer("schema_version", INT64_MAX) != record::schema::version) {
    root.fail("has another schema version than " + std::to_string(record::schema::version));
  }
  PlanManifest manifest;
  manifest.study = root.name("study");
  manifest.model = root.text("model");
  read_configs(root, manifest);
  const std::set<std::string> configs(manifest.configs.begin(), manifest.configs.end());
  std::set<std::string> ids;
  for (size_t i = 0; i < root.list("runs").size(); ++i) {
    manifest.runs.push_back(read_run(root.item("runs", i), configs));
    if (!ids.insert(manifest.runs.back().id).second)
      root.item("runs", i).fail("has the id of another run");
  }
  for (size_t i = 0; i < root.list("refusals").size(); ++i) {
    const Fields fields = root.item("refusals", i);
    manifest.refusals.push_back({fields.name_or_all("config"), fields.name_or_all("workload"),
                                 fields.name_or_all("lengths"), fields.text("reason")});
  }
  for (size_t i = 0; i < root.list("claims").size(); ++i)
    manifest.claims.push_back(read_claim(root.item("claims", i)));
  manifest.claims_hash = root.text("claims_hash");
  return manifest;
}

}  // namespace qsweep::sweep
