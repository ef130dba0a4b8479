// RunRecord -> HDF5, made in memory, sealed, and written whole or not at all.
#include "base/files.hpp"
#include "record/hdf5.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "record/seal.hpp"
#include "record/text.hpp"

namespace qsweep::record {
namespace {

void write_attributes(const hdf5::Group& root, const RunRecord& record) {
  root.set_attribute("schema_version", schema::version);
  for (const auto& [name, value] : record.attributes) {
    if (name != "schema_version") root.set_attribute(name, value);
  }
}

void write_metrics(const hdf5::Group& root, const RunRecord& record) {
  const hdf5::Group group = root.group("metrics");
  for (const auto& [name, value] : record.metrics) {
    const schema::MetricInfo& info = *schema::find_metric(name);
    group.write(name, {{}, std::vector<double>{value}},
                {std::string(info.units), std::string(info.long_name), {}});
  }
}

// A dataset that is named as its dimension is that dimension's scale, and so goes first.
void write_datasets(const hdf5::Group& root, const RunRecord& record) {
  for (const bool scales : {true, false}) {
    for (const auto& [path, data] : record.datasets) {
      const schema::DatasetInfo& info = *schema::find_dataset(path);
      const bool is_scale = path.substr(path.rfind('/') + 1) == info.dims;
      if (is_scale != scales) continue;
      root.write(path, data,
                 {std::string(info.units), std::string(info.long_name), split_dims(info.dims)});
    }
  }
}

}  // namespace

void write_record(const std::filesystem::path& file, const RunRecord& given) {
  RunRecord record;  // checked again: the maps are open to everyone
  for (const auto& [name, value] : given.attributes) record.set(name, value);
  for (const auto& [name, value] : given.metrics) record.metric(name, value);
  for (const auto& [path, data] : given.datasets) record.put(path, data.shape, data.values);
  hdf5::File out = hdf5::File::create_in_memory(file.filename().string());
  write_attributes(out.root(), record);
  write_metrics(out.root(), record);
  write_datasets(out.root(), record);
  write_file_atomic(file, seal(out.image()));
}

}  // namespace qsweep::record
