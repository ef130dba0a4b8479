// HDF5 -> RunRecord. The file is read once into memory, its seal is checked, and only what the
// schema names is looked at: unknown objects are ignored, links that leave the file are refused,
// every size is bounded.
#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "base/files.hpp"
#include "record/hdf5.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "record/seal.hpp"
#include "record/text.hpp"

namespace qsweep::record {
namespace {

constexpr hdf5::Limits run_limits{uint64_t{1} << 24, uint64_t{1} << 26, 10'000};

void check_version(const hdf5::Group& root) {
  const auto stated = root.attribute("schema_version", run_limits);
  const int64_t* version = stated ? std::get_if<int64_t>(&*stated) : nullptr;
  if (version == nullptr) {
    throw_invalid(root.where() + " is not a run record", "it has no integer schema_version");
  }
  if (*version != schema::version) {
    throw_invalid("schema version " + std::to_string(*version) + " of " + root.where(),
                  "this qsweep reads version " + std::to_string(schema::version),
                  "use the qsweep that wrote it");
  }
}

std::optional<Attribute> read_attribute(const hdf5::Group& root,
                                        const schema::AttributeInfo& info) {
  const std::string name(info.name);
  std::optional<Attribute> value = root.attribute(name, run_limits);
  if (value && value->index() != static_cast<size_t>(info.type)) {
    throw_invalid("wrong type of attribute " + name + " of " + root.where(),
                  "the schema has another");
  }
  return value;
}

void read_attributes(const hdf5::Group& root, RunRecord& record) {
  for (const schema::AttributeInfo& info : schema::attributes()) {
    std::optional<Attribute> value = read_attribute(root, info);
    if (value) record.set(std::string(info.name), std::move(*value));
  }
}
static_assert(static_cast<size_t>(schema::Type::integer) == 0 &&
              static_cast<size_t>(schema::Type::real) == 1 &&
              static_cast<size_t>(schema::Type::text) == 2);

// Hard links only; the names that are there.
std::vector<std::string> checked_links(const hdf5::Group& group) {
  std::vector<std::string> names;
  for (hdf5::Link& link : group.links(run_limits)) {
    if (link.kind != hdf5::LinkKind::hard) {
      throw_invalid("link in " + group.where(link.name), "a run file holds its own data only");
    }
    names.push_back(std::move(link.name));
  }
  return names;
}

void read_metrics(const hdf5::Group& group, RunRecord& record) {
  hdf5::Limits one_value = run_limits;
  one_value.values = 1;
  for (const std::string& name : checked_links(group)) {
    if (schema::find_metric(name) == nullptr) continue;
    const Dataset data = group.read(name, one_value);
    const auto* values = std::get_if<std::vector<double>>(&data.values);
    if (values == nullptr || values->size() != 1) {
      throw_invalid("unreadable metric " + group.where(name), "one float is expected");
    }
    record.metric(name, values->front());
  }
}

void read_dataset(const hdf5::Group& group, const std::string& name,
                  const schema::DatasetInfo& info, RunRecord& record, uint64_t& values_left,
                  std::map<std::string, int64_t>& lengths) {
  hdf5::Limits limits = run_limits;
  limits.values = values_left;
  Dataset data = group.read(name, limits);
  values_left -= std::visit([](const auto& v) { return uint64_t{v.size()}; }, data.values);
  // Values lists float first, the schema integer first.
  const schema::Type found =
      std::holds_alternative<std::vector<double>>(data.values)    ? schema::Type::real
      : std::holds_alternative<std::vector<int64_t>>(data.values) ? schema::Type::integer
                                                                  : schema::Type::text;
  const std::vector<std::string> dims = split_dims(info.dims);
  if (found != info.type || data.shape.size() != dims.size()) {
    throw_invalid("wrong type or rank of " + group.where(name), "the schema has another");
  }
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    const auto [it, added] = lengths.emplace(dims[axis], data.shape[axis]);
    if (it->second != data.shape[axis]) {
      throw_invalid("length " + std::to_string(data.shape[axis]) + " of " + group.where(name),
                    "others along " + dims[axis] + " have " + std::to_string(it->second));
    }
  }
  record.put(std::string(info.path), std::move(data.shape), std::move(data.values));
}

void read_datasets(const hdf5::Group& root, const std::string& folder, RunRecord& record,
                   uint64_t& values_left) {
  const hdf5::Group group = root.group(folder);
  std::map<std::string, int64_t> lengths;
  for (const std::string& name : checked_links(group)) {
    const schema::DatasetInfo* info = schema::find_dataset(folder + "/" + name);
    if (info != nullptr) read_dataset(group, name, *info, record, values_left, lengths);
  }
}

// `only`: the one folder of datasets that is read; empty for all.
RunRecord parse(std::string_view bytes, const std::string& label, std::string_view only) {
  const hdf5::File in = hdf5::File::open_image(bytes, label);
  const hdf5::Group root = in.root();
  RunRecord record;
  check_version(root);
  read_attributes(root, record);
  const std::vector<std::string> groups = checked_links(root);
  const auto there = [&](const std::string& name) {
    return std::ranges::find(groups, name) != groups.end();
  };
  if (there("metrics")) read_metrics(root.group("metrics"), record);
  std::string last;
  uint64_t values_left =
      run_limits.values;  // of the whole file: each dataset may claim all of them
  for (const schema::DatasetInfo& info : schema::datasets()) {
    const std::string folder(info.path.substr(0, info.path.find('/')));
    const bool wanted = only.empty() || folder == only;
    if (folder != last && wanted && there(folder)) read_datasets(root, folder, record, values_left);
    last = folder;
  }
  return record;
}

}  // namespace

RunRecord parse_record(std::string_view bytes, const std::string& label) {
  return parse(bytes, label, {});
}

RunState parse_run_state(std::string_view bytes, const std::string& label) {
  const hdf5::File in = hdf5::File::open_image(bytes, label);
  const hdf5::Group root = in.root();
  check_version(root);
  const auto text = [&](std::string_view name) {
    const auto value = read_attribute(root, *schema::find_attribute(name));
    return value ? clean_text(std::get<std::string>(*value)) : std::string();
  };
  const auto real = [&](std::string_view name) {
    const auto value = read_attribute(root, *schema::find_attribute(name));
    return value ? std::get<double>(*value) : 0.0;
  };
  return {text("run_id"), text("status"), text("error"), real("seconds"), real("load_seconds")};
}

RunRecord read_record(const std::filesystem::path& file) {
  const std::string bytes = read_file(file, max_run_bytes);
  return parse(unseal(bytes, file.string()), file.string(), {});
}

RunRecord read_samples(const std::filesystem::path& file) {
  const std::string bytes = read_file(file, max_run_bytes);
  return parse(unseal(bytes, file.string()), file.string(), "samples");
}

}  // namespace qsweep::record
