// sweep.h5: the tables of a report beside external links to every run file.
#include <fmt/format.h>

#include "base/files.hpp"
#include "record/hdf5.hpp"
#include "reduce/tables.hpp"

namespace qsweep::reduce {
namespace {

namespace hdf5 = record::hdf5;

void write_table(const hdf5::Group& group, const Table& table) {
  for (const Column& column : table) {
    const auto rows =
        std::visit([](const auto& v) { return static_cast<int64_t>(v.size()); }, column.values);
    group.write(column.name, {{rows}, column.values}, {column.units, column.long_name, {"row"}});
  }
}

void write_attributes(const hdf5::Group& root, const ReduceReport& report) {
  root.set_attribute("study", report.study);
  root.set_attribute("model", report.model);
  root.set_attribute("baseline", report.baseline);
  const hdf5::Group cost = root.group("cost");
  cost.set_attribute("total_busy_s", report.total_busy_s);
  cost.set_attribute("total_predicted_s", report.total_predicted_s);
  cost.set_attribute("ok", report.ok);
  cost.set_attribute("failed", report.failed);
  cost.set_attribute("unreadable", report.unreadable);
  cost.set_attribute("unproven", report.unproven);
  cost.set_attribute("missing", report.missing);
}

void write_links(const hdf5::Group& runs, const ReduceReport& report) {
  for (const RunRow& row : report.runs) {
    if (row.status == RunStatus::missing || row.status == RunStatus::unreadable) continue;
    runs.group(row.config + "/" + row.workload + "/" + row.lengths)
        .external_link(fmt::format("r{}", row.repeat), row.path, "/");
  }
}

}  // namespace

void write_sweep_file(const std::filesystem::path& file, const ReduceReport& report) {
  hdf5::File out = hdf5::File::create_in_memory(file.filename().string());
  {
    const hdf5::Group root = out.root();
    write_table(root.group("aggregate"), aggregate_table(report));
    write_table(root.group("claims"), claims_table(report));
    write_table(root.group("cost"), cost_table(report));
    write_table(root.group("drift"), drift_table(report));
    write_table(root.group("noise_floor"), noise_floor_table(report));
    write_table(root.group("run_index"), run_index_table(report));
    write_links(root.group("runs"), report);
    write_attributes(root, report);
  }
  write_file_atomic(file, out.image());
}

}  // namespace qsweep::reduce
