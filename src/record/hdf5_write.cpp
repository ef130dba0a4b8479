// Attributes and labelled datasets, written.
#include <algorithm>
#include <numeric>
#include <type_traits>

#include "record/hdf5_detail.hpp"

namespace qsweep::record::hdf5 {
namespace {

// Below this a chunk index and a filter pipeline cost more bytes than deflate saves.
constexpr int64_t compress_from = 512;  // values
constexpr int64_t chunk_values = int64_t{1}
                                 << 16;  // 512 KiB of doubles: fits the default chunk cache
constexpr unsigned deflate_level = 4;

template <class Value>
Handle memory_type() {
  if constexpr (std::is_same_v<Value, std::string>) {
    return text_type();
  } else {
    return Handle(H5Tcopy(std::is_same_v<Value, double> ? real_type() : integer_type()));
  }
}

std::vector<const char*> c_strings(const std::vector<std::string>& values) {
  std::vector<const char*> out;
  for (const std::string& value : values) out.push_back(value.c_str());
  return out;
}

void write_attribute(hid_t object, const std::string& name, const Attribute& value,
                     const std::string& where) {
  const Handle space(H5Screate(H5S_SCALAR));
  if (H5Aexists(object, name.c_str()) > 0) H5Adelete(object, name.c_str());
  std::visit(
      [&](const auto& v) {
        using Value = std::decay_t<decltype(v)>;
        const Handle type = memory_type<Value>();
        const Handle attribute(
            H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT));
        herr_t code = -1;
        if constexpr (std::is_same_v<Value, std::string>) {
          const char* text = v.c_str();
          code = H5Awrite(attribute.get(), type.get(), &text);
        } else {
          code = H5Awrite(attribute.get(), type.get(), &v);
        }
        check(code, ErrorKind::io, "cannot write attribute " + name + " of", where);
      },
      value);
}

// Chunked, shuffled and deflated where that pays; without times, so that equal records are equal
// bytes.
Handle creation_list(const std::vector<int64_t>& shape, int64_t values, bool text) {
  Handle list(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_obj_track_times(list.get(), false);
  if (values < compress_from || text) return list;
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  int64_t room = chunk_values;
  for (size_t axis = chunk.size(); axis-- > 0;) {
    chunk[axis] = std::clamp<hsize_t>(chunk[axis], 1, static_cast<hsize_t>(room));
    room = std::max<int64_t>(1, room / static_cast<int64_t>(chunk[axis]));
  }
  H5Pset_chunk(list.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_shuffle(list.get());
  H5Pset_deflate(list.get(), deflate_level);
  return list;
}

Handle space_of(const std::vector<int64_t>& shape) {
  if (shape.empty()) return Handle(H5Screate(H5S_SCALAR));
  const std::vector<hsize_t> extent(shape.begin(), shape.end());
  return Handle(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr));
}

template <class Value>
Handle create_dataset(hid_t parent, const std::string& path, const std::vector<int64_t>& shape,
                      const std::vector<Value>& values, const std::string& where) {
  const Handle type = memory_type<Value>(), space = space_of(shape);
  const Handle links(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(links.get(), 1);
  const bool text = std::is_same_v<Value, std::string>;
  const Handle list = creation_list(shape, static_cast<int64_t>(values.size()), text);
  Handle dataset(H5Dcreate2(parent, path.c_str(), type.get(), space.get(), links.get(), list.get(),
                            H5P_DEFAULT));
  if (dataset.get() < 0) fail(ErrorKind::io, "cannot create", where);
  if (values.empty()) return dataset;
  herr_t code = -1;
  if constexpr (std::is_same_v<Value, std::string>) {
    code = H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                    c_strings(values).data());
  } else {
    code = H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  }
  check(code, ErrorKind::io, "cannot write", where);
  return dataset;
}

// The scale `name` of `length` beside the dataset: the one that is there, or a new 0..length-1.
// Invalid handle where something else bears the name.
Handle dimension_scale(hid_t parent, const std::string& name, int64_t length,
                       const std::string& where) {
  if (H5Lexists(parent, name.c_str(), H5P_DEFAULT) > 0) {
    Handle scale(H5Dopen2(parent, name.c_str(), H5P_DEFAULT));
    if (scale.get() < 0 || H5DSis_scale(scale.get()) <= 0) return Handle();
    const Handle space(H5Dget_space(scale.get()));
    const hssize_t there = H5Sget_simple_extent_npoints(space.get());
    expect(there == length, where + " has length " + std::to_string(length) + " along " + name +
                                " where its group has " + std::to_string(there));
    return scale;
  }
  std::vector<int64_t> index(static_cast<size_t>(length));
  std::iota(index.begin(), index.end(), int64_t{0});
  Handle scale = create_dataset(parent, name, {length}, index, where);
  write_attribute(scale.get(), "units", std::string("1"), where);
  write_attribute(scale.get(), "long_name", "index along " + name, where);
  check(H5DSset_scale(scale.get(), name.c_str()), ErrorKind::io, "cannot make a scale of", where);
  return scale;
}

void label_axis(hid_t parent, hid_t dataset, const std::string& leaf, const std::string& dim,
                unsigned axis, int64_t length, const std::string& where) {
  H5DSset_label(dataset, axis, dim.c_str());
  if (leaf == dim) {
    check(H5DSset_scale(dataset, dim.c_str()), ErrorKind::io, "cannot make a scale of", where);
    return;
  }
  const Handle scale = dimension_scale(parent, dim, length, where);
  if (scale.get() < 0) return;
  check(H5DSattach_scale(dataset, scale.get(), axis), ErrorKind::io, "cannot attach a scale to",
        where);
}

}  // namespace

void Group::set_attribute(const std::string& name, const Attribute& value) const {
  write_attribute(handle_.get(), name, value, where());
}

void Group::write(const std::string& path, const Dataset& data, const Labels& labels) const {
  const std::string place = where(path);
  const int64_t product =
      std::accumulate(data.shape.begin(), data.shape.end(), int64_t{1}, std::multiplies<int64_t>());
  const auto count =
      std::visit([](const auto& v) { return static_cast<int64_t>(v.size()); }, data.values);
  expect(product == count, place + " has " + std::to_string(count) + " values and a shape of " +
                               std::to_string(product));
  expect(labels.dims.size() == data.shape.size() || labels.dims.empty(),
         place + " names as many dimensions as it has");
  const Handle dataset = std::visit(
      [&](const auto& values) {
        return create_dataset(handle_.get(), path, data.shape, values, place);
      },
      data.values);
  write_attribute(dataset.get(), "units", labels.units, place);
  write_attribute(dataset.get(), "long_name", labels.long_name, place);
  if (labels.dims.empty()) return;
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string leaf = slash == std::string::npos ? path : path.substr(slash + 1);
  const Handle parent(H5Gopen2(handle_.get(), folder.c_str(), H5P_DEFAULT));
  for (size_t axis = 0; axis < labels.dims.size(); ++axis) {
    label_axis(parent.get(), dataset.get(), leaf, labels.dims[axis], static_cast<unsigned>(axis),
               data.shape[axis], place);
  }
}

}  // namespace qsweep::record::hdf5
