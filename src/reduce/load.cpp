#include "reduce/load.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "record/read_ahead.hpp"
#include "record/schema.hpp"
#include "reduce/attributes.hpp"

namespace qsweep::reduce {
namespace {

namespace fs = std::filesystem;
namespace schema = record::schema;
using record::RunRecord;
using Entry = sweep::PlanManifest::Entry;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr size_t max_grid = 4'000'000;  // configs by cells: 100 MB

// The plan is a file too: a run lies where its names say, and its names are plain.
void check_place(const Entry& entry) {
  const std::string place = fmt::format("results/{}/{}/{}/r{}.h5", entry.config, entry.workload,
                                        entry.lengths, entry.repeat);
  const bool plain = is_safe_name(entry.config) && is_safe_name(entry.workload) &&
                     is_safe_name(entry.lengths) && entry.repeat >= 0;
  if (!plain || entry.path != place) {
    throw_invalid("plan.json names the unsafe path '" + entry.path + "'",
                  "expected '" + place + "' of plain names", "restore manifests/plan.json");
  }
}

std::vector<double> as_reals(const RunRecord& record, std::string_view path) {
  const auto found = record.datasets.find(std::string(path));
  if (found == record.datasets.end()) return {};
  if (const auto* reals = std::get_if<std::vector<double>>(&found->second.values)) return *reals;
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&found->second.values)) {
    return {integers->begin(), integers->end()};
  }
  return {};
}

Items items_of(const RunRecord& record, const schema::MetricInfo& metric) {
  if (metric.items.empty()) return {};
  Items items{as_reals(record, metric.items), {}};
  if (items.values.empty() || metric.weights.empty()) return items;
  items.weights = as_reals(record, metric.weights);
  if (items.weights.size() != items.values.size()) return {};  // no pairs of item and weight
  return items;
}

std::string digest(const Items& items) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(items.values)));
  hash.update(std::as_bytes(std::span(items.weights)));
  return hash.hex();
}

RunValues values_of(const RunRecord& record, int64_t repeat) {
  RunValues values;
  values.repeat = repeat;
  values.protocol_fingerprint = text_of(record, "protocol_fingerprint");
  const auto metrics = schema::metrics();
  values.metrics.assign(metrics.size(), nan);
  for (size_t m = 0; m < metrics.size(); ++m) {
    const auto found = record.metrics.find(std::string(metrics[m].name));
    if (found == record.metrics.end()) continue;
    values.metrics[m] = found->second;
    if (!metrics[m].items.empty()) values.items_digest[m] = digest(items_of(record, metrics[m]));
  }
  return values;
}

ConfigFacts facts_of(const RunRecord& record) {
  ConfigFacts facts;
  facts.known = true;
  facts.w_bits = integer_of(record, "w_bits", -1);
  facts.a_bits = integer_of(record, "a_bits", -1);
  facts.kv_bits = integer_of(record, "kv_bits", -1);
  facts.group_size = integer_of(record, "group_size", 0);
  facts.weight_format = text_of(record, "weight_format");
  facts.scale_format = text_of(record, "scale_format");
  facts.quant_method = text_of(record, "quant_method");
  return facts;
}

RunRow planned_row(const Entry& entry) {
  RunRow row;
  row.id = entry.id;
  row.config = entry.config;
  row.workload = entry.workload;
  row.lengths = entry.lengths;
  row.repeat = entry.repeat;
  row.path = entry.path;
  row.seconds = nan;
  row.predicted_s = entry.cost;
  return row;
}

void describe(const RunRecord& record, RunRow& row) {
  row.rank = integer_of(record, "rank", -1);
  row.start = text_of(record, "start");
  row.end = text_of(record, "end");
  row.seconds = real_of(record, "seconds", nan);
}

// Reads items of a cell's first accepted run. Two records are kept, as a comparison asks for the
// same two runs metric after metric.
class ItemReader {
 public:
  ItemReader(fs::path run_dir, std::vector<std::string> paths)
      : run_dir_(std::move(run_dir)), paths_(std::move(paths)) {}

  Items read(size_t at, size_t metric) {
    if (paths_[at].empty()) return {};
    for (const Kept& kept : kept_) {
      if (kept.at == at) return items_of(kept.record, schema::metrics()[metric]);
    }
    Kept& slot = kept_[next_];
    next_ = 1 - next_;
    slot.at = none;
    slot.record = record::read_samples(run_dir_ / paths_[at]);
    slot.at = at;
    return items_of(slot.record, schema::metrics()[metric]);
  }

 private:
  static constexpr size_t none = std::numeric_limits<size_t>::max();
  struct Kept {
    size_t at = none;
    RunRecord record;
  };
  fs::path run_dir_;
  std::vector<std::string> paths_;  // [n_configs * n_cells], empty where no run was accepted
  std::array<Kept, 2> kept_;
  size_t next_ = 0;
};

std::map<std::string, size_t> indices_of(const std::vector<std::string>& names) {
  std::map<std::string, size_t> indices;
  for (size_t i = 0; i < names.size(); ++i) indices.emplace(names[i], i);
  return indices;
}

size_t index_of(const std::map<std::string, size_t>& indices, const std::string& name) {
  const auto found = indices.find(name);
  if (found == indices.end()) {
    throw_invalid("plan.json has a run of config '" + name + "'",
                  "its list of configs does not name it", "restore manifests/plan.json");
  }
  return found->second;
}

// Judges the plan's run files one after another, in the plan's order.
class Loader {
 public:
  Loader(const fs::path& run_dir, const sweep::PlanManifest& plan)
      : run_dir_(run_dir), plan_(plan) {}

  Loaded load() {
    lay_out_grid();
    std::vector<fs::path> files;
    for (const Entry& entry : plan_.runs) files.push_back(run_dir_ / entry.path);
    record::read_ahead(files, [&](size_t i, const record::SealedFile& file) { take(i, file); });
    for (const auto& [run, reason] : agreement_.disagreements()) {
      loaded_.runs[run].status = RunStatus::unproven;
      loaded_.runs[run].error = reason;
    }
    sort_into_cells();
    return std::move(loaded_);
  }

 private:
  void lay_out_grid() {
    Observations& obs = loaded_.observations;
    obs.configs = plan_.configs;
    const std::map<std::string, size_t> configs = indices_of(obs.configs);
    std::map<std::pair<std::string, std::string>, size_t> cells;
    std::set<std::string> paths;
    for (const Entry& entry : plan_.runs) {
      check_place(entry);
      if (!paths.insert(entry.path).second) {
        throw_invalid("plan.json names '" + entry.path + "' twice", "a run stands there once",
                      "restore manifests/plan.json");
      }
      const auto [found, added] =
          cells.emplace(std::pair{entry.workload, entry.lengths}, obs.cells.size());
      if (added) obs.cells.push_back({entry.workload, entry.lengths, entry.kind});
      places_.emplace_back(index_of(configs, entry.config), found->second);
    }
    // A plan names about every pair of config and cell; one that does not is no plan of ours.
    if (!obs.cells.empty() && obs.configs.size() > max_grid / obs.cells.size()) {
      throw_invalid("plan.json spans too large a grid",
                    fmt::format("{} configs by {} cells", obs.configs.size(), obs.cells.size()),
                    "restore manifests/plan.json");
    }
    obs.runs.resize(obs.configs.size() * obs.cells.size());
    obs.planned.assign(obs.runs.size(), 0);
    for (const auto& [config, cell] : places_) obs.planned[obs.at(config, cell)] = 1;
    loaded_.facts.resize(obs.configs.size());
    values_.resize(plan_.runs.size());
  }

  void take(size_t i, const record::SealedFile& file) {
    const Entry& entry = plan_.runs[i];
    loaded_.runs.push_back(planned_row(entry));
    RunRow& row = loaded_.runs.back();
    if (!file.there) return;
    if (!file.problem.empty()) {
      row.status = RunStatus::unreadable;
      row.error = without_folder(file.problem);
      return;
    }
    try {
      const RunRecord record = record::parse_record(file.bytes, (run_dir_ / entry.path).string());
      const Trust trust = judge_record(record, entry);
      row.status = trust.status;
      row.error = trust.reason;
      describe(record, row);
      if (trust.status != RunStatus::ok) return;
      agreement_.add(entry.config, i, record);
      values_[i] = values_of(record, entry.repeat);
      ConfigFacts& facts = loaded_.facts[places_[i].first];
      if (!facts.known) facts = facts_of(record);
    } catch (const std::exception& error) {
      row.status = RunStatus::unreadable;
      row.error = without_folder(error.what());
    }
  }

  // Reports do not depend on where the run folder lies.
  std::string without_folder(std::string text) const {
    const std::string prefix = (run_dir_ / "").string();
    for (size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) {
      text.erase(at, prefix.size());
    }
    return text;
  }

  void sort_into_cells() {
    Observations& obs = loaded_.observations;
    std::vector<std::string> first_paths(obs.runs.size());
    std::vector<int64_t> first_repeat(obs.runs.size(), std::numeric_limits<int64_t>::max());
    for (size_t i = 0; i < plan_.runs.size(); ++i) {
      if (loaded_.runs[i].status != RunStatus::ok) continue;
      const size_t at = obs.at(places_[i].first, places_[i].second);
      if (values_[i].repeat < first_repeat[at]) {
        first_repeat[at] = values_[i].repeat;
        first_paths[at] = plan_.runs[i].path;
      }
      obs.runs[at].push_back(std::move(values_[i]));
    }
    for (auto& runs : obs.runs) {
      std::stable_sort(runs.begin(), runs.end(),
                       [](const RunValues& a, const RunValues& b) { return a.repeat < b.repeat; });
    }
    const size_t n_cells = obs.cells.size();
    auto reader = std::make_shared<ItemReader>(run_dir_, std::move(first_paths));
    obs.items = [reader, n_cells](size_t config, size_t cell, size_t metric) {
      return reader->read(config * n_cells + cell, metric);
    };
  }

  const fs::path& run_dir_;
  const sweep::PlanManifest& plan_;
  Loaded loaded_;
  PackedAgreement agreement_;
  std::vector<std::pair<size_t, size_t>> places_;  // [n_runs] config, cell
  std::vector<RunValues> values_;                  // [n_runs], of accepted runs
};

}  // namespace

Loaded load(const fs::path& run_dir, const sweep::PlanManifest& plan) {
  return Loader(run_dir, plan).load();
}

}  // namespace qsweep::reduce
