// Bytes as a script that writes a sound HDF5 file of unsound content, in memory.
//
// Each step is a byte and what it needs of the following ones; a script that ends early goes on
// with zeros. Names come from the record's schema or from the script itself, types from a table
// that has every class of HDF5, extents from a table with the edges of the reader's bounds.
#pragma once

#include <hdf5.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "record/schema.hpp"

namespace qsweep::fuzz {

class Script {
 public:
  explicit Script(std::string_view bytes) : bytes_(bytes) {}
  bool ended() const { return at_ >= bytes_.size(); }
  unsigned byte() { return ended() ? 0 : static_cast<unsigned char>(bytes_[at_++]); }
  // Up to 15 bytes without a zero.
  std::string word() {
    std::string text;
    for (unsigned left = byte() % 16; left > 0 && !ended(); --left) {
      if (const unsigned c = byte(); c != 0) text.push_back(static_cast<char>(c));
    }
    return text;
  }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
};

// Identifiers are closed with their file (H5F_CLOSE_STRONG), types and spaces here.
struct Id {
  hid_t value;
  explicit Id(hid_t given) : value(given) {}
  ~Id() {
    if (value < 0) return;
    const H5I_type_t kind = H5Iget_type(value);
    if (kind == H5I_DATATYPE) H5Tclose(value);
    if (kind == H5I_DATASPACE) H5Sclose(value);
    if (kind == H5I_GENPROP_LST) H5Pclose(value);
    if (kind == H5I_ATTR) H5Aclose(value);
    if (kind == H5I_DATASET) H5Dclose(value);
    if (kind == H5I_GROUP) H5Gclose(value);
  }
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
};

inline std::string attribute_name(Script& script) {
  const auto known = record::schema::attributes();
  const unsigned choice = script.byte();
  return choice < known.size() ? std::string(known[choice].name) : script.word();
}

inline std::string object_path(Script& script) {
  const auto datasets = record::schema::datasets();
  const auto metrics = record::schema::metrics();
  unsigned choice = script.byte();
  if (choice < datasets.size()) return std::string(datasets[choice].path);
  choice -= static_cast<unsigned>(datasets.size());
  if (choice < metrics.size()) return "metrics/" + std::string(metrics[choice].name);
  constexpr std::array<const char*, 4> folders = {"metrics", "samples", "layers", "certificate"};
  choice -= static_cast<unsigned>(metrics.size());
  return choice < folders.size() ? folders[choice] : script.word();
}

inline hid_t text_type(size_t size, H5T_cset_t set) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, size);
  H5Tset_cset(type, set);
  return type;
}

inline hid_t made_type(unsigned choice) {
  constexpr hsize_t two = 2;
  switch (choice % 20) {
    case 0:
      return H5Tcopy(H5T_NATIVE_DOUBLE);
    case 1:
      return text_type(H5T_VARIABLE, H5T_CSET_UTF8);
    case 2:
      return text_type(H5T_VARIABLE, H5T_CSET_ASCII);
    case 3:
      return text_type(8, H5T_CSET_UTF8);
    case 4:
      return H5Tcopy(H5T_STD_I8LE);
    case 5:
      return H5Tcopy(H5T_STD_U64LE);
    case 6:
      return H5Tcopy(H5T_STD_I16BE);
    case 7:
      return H5Tcopy(H5T_IEEE_F32LE);
    case 8:
      return H5Tcopy(H5T_IEEE_F64BE);
    case 9:
      return H5Tcopy(H5T_NATIVE_LDOUBLE);
    case 10:
      return H5Tcopy(H5T_STD_B32LE);
    case 11:
      return H5Tcreate(H5T_OPAQUE, 4);
    case 12:
      return H5Tarray_create2(H5T_NATIVE_INT32, 1, &two);
    case 13:
      return H5Tvlen_create(H5T_NATIVE_INT16);
    case 14: {
      const hid_t type = H5Tcreate(H5T_COMPOUND, 16);
      H5Tinsert(type, "a", 0, H5T_NATIVE_INT64);
      H5Tinsert(type, "b", 8, H5T_NATIVE_DOUBLE);
      return type;
    }
    case 15:
      return H5Tenum_create(H5T_NATIVE_INT);
    case 16:
      return H5Tcopy(H5T_STD_REF_OBJ);
    default:
      return H5Tcopy(H5T_NATIVE_INT64);
  }
}

inline hid_t made_space(Script& script, uint64_t& count) {
  constexpr std::array<hsize_t, 16> extents = {1,
                                               2,
                                               3,
                                               7,
                                               7,
                                               7,
                                               0,
                                               1,
                                               8,
                                               100,
                                               1000,
                                               3000,
                                               (1u << 24) + 1,
                                               hsize_t{1} << 40,
                                               hsize_t{1} << 62,
                                               ~hsize_t{0} - 1};
  const unsigned rank = script.byte() % 16;
  count = 1;
  if (rank == 0) return H5Screate(H5S_SCALAR);
  if (rank == 15) {
    count = 0;
    return H5Screate(H5S_NULL);
  }
  // Rank 1 is the usual one.
  std::vector<hsize_t> extent(rank < 8 ? 1 : rank - 6);
  for (hsize_t& length : extent) {
    length = extents[script.byte() % extents.size()];
    if (__builtin_mul_overflow(count, length, &count)) count = UINT64_MAX;
  }
  return H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr);
}

inline hid_t made_storage(Script& script, hid_t type, hid_t space) {
  const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
  const unsigned layout = script.byte() % 8;
  const int rank = H5Sget_simple_extent_ndims(space);
  if (layout == 5) H5Pset_layout(list, H5D_COMPACT);
  if (layout == 6) H5Pset_external(list, "/dev/null/elsewhere", 0, H5F_UNLIMITED);
  if (layout == 7 && rank > 0) {
    std::vector<hsize_t> chunk(static_cast<size_t>(rank), 1 + script.byte() * script.byte());
    H5Pset_chunk(list, rank, chunk.data());
    const unsigned filters = script.byte();
    // The filters that are refused stand alone and on integers: HDF5 1.10 crashes as it writes some
    // other combinations, before there is a file to be read.
    const bool whole = H5Tget_class(type) == H5T_INTEGER;
    if (filters >= 128 && whole) {
      filters % 2 ? H5Pset_scaleoffset(list, H5Z_SO_INT, 0) : H5Pset_nbit(list);
    } else {
      if (filters & 1) H5Pset_shuffle(list);
      if (filters & 2) H5Pset_deflate(list, filters % 10);
      if (filters & 4) H5Pset_fletcher32(list);
    }
  }
  return list;
}

// Calls write(buffer) with `count` values of the type, made of the script's words.
template <class Write>
void with_values(Script& script, hid_t type, uint64_t count, Write write) {
  constexpr uint64_t most = 1024;  // values that are written; more are declared only
  if (count == 0 || count > most) return;
  if (H5Tis_variable_str(type) > 0) {
    std::vector<std::string> words;
    for (uint64_t i = 0; i < count; ++i) words.push_back(script.word());
    std::vector<const char*> pointers;
    for (const std::string& word : words) pointers.push_back(word.c_str());
    write(pointers.data());
  } else if (H5Tget_class(type) == H5T_VLEN || H5Tget_class(type) == H5T_REFERENCE) {
    return;  // stays unwritten: a null pointer is what such a value reads as
  } else {
    std::string bytes(count * H5Tget_size(type), '\0');
    for (char& byte : bytes) byte = static_cast<char>(script.byte());
    write(bytes.data());
  }
}

inline void add_attribute(Script& script, hid_t object) {
  const std::string name = attribute_name(script);
  const Id type(made_type(script.byte()));
  uint64_t count = 0;
  const Id space(made_space(script, count));
  if (count > 4096) return;  // attributes live in the object's header
  const Id attribute(
      H5Acreate2(object, name.c_str(), type.value, space.value, H5P_DEFAULT, H5P_DEFAULT));
  if (attribute.value < 0) return;
  with_values(script, type.value, count,
              [&](const void* values) { H5Awrite(attribute.value, type.value, values); });
}

inline void add_dataset(Script& script, hid_t root, hid_t parents) {
  const std::string path = object_path(script);
  const Id type(made_type(script.byte()));
  uint64_t count = 0;
  const Id space(made_space(script, count));
  const Id storage(made_storage(script, type.value, space.value));
  const Id dataset(
      H5Dcreate2(root, path.c_str(), type.value, space.value, parents, storage.value, H5P_DEFAULT));
  if (dataset.value < 0) return;
  with_values(script, type.value, count, [&](const void* values) {
    H5Dwrite(dataset.value, type.value, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  });
}

// The scalar float that a metric is, or the right version: what a sound record begins with.
inline void add_sound(Script& script, hid_t root, hid_t parents) {
  const Id space(H5Screate(H5S_SCALAR));
  const int64_t version = record::schema::version;
  const Id attribute(
      H5Acreate2(root, "schema_version", H5T_NATIVE_INT64, space.value, H5P_DEFAULT, H5P_DEFAULT));
  if (attribute.value >= 0) H5Awrite(attribute.value, H5T_NATIVE_INT64, &version);
  const auto metrics = record::schema::metrics();
  const std::string path = "metrics/" + std::string(metrics[script.byte() % metrics.size()].name);
  const Id dataset(H5Dcreate2(root, path.c_str(), H5T_NATIVE_DOUBLE, space.value, parents,
                              H5P_DEFAULT, H5P_DEFAULT));
  const double value = script.byte();
  if (dataset.value >= 0)
    H5Dwrite(dataset.value, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value);
}

inline void step(Script& script, hid_t root, hid_t parents) {
  const unsigned choice = script.byte() % 16;
  if (choice < 4) return add_attribute(script, root);
  if (choice < 9) return add_dataset(script, root, parents);
  if (choice < 11) return add_sound(script, root, parents);
  const std::string path = object_path(script);
  switch (choice) {
    case 11:
      H5Lcreate_soft(script.word().c_str(), root, path.c_str(), parents, H5P_DEFAULT);
      break;
    case 12:
      H5Lcreate_external("other.h5", script.word().c_str(), root, path.c_str(), parents,
                         H5P_DEFAULT);
      break;
    case 13:  // a group that holds itself, or its root
      H5Lcreate_hard(root, "/", root, path.c_str(), parents, H5P_DEFAULT);
      break;
    case 14:
      H5Ldelete(root, path.c_str(), H5P_DEFAULT);
      break;
    default: {
      const Id group(H5Gcreate2(root, path.c_str(), parents, H5P_DEFAULT, H5P_DEFAULT));
      if (group.value >= 0) add_attribute(script, group.value);
    }
  }
}

inline std::string hdf5_file(Script& script) {
  constexpr int most_steps = 64;
  // Its tables are kept between files: to ask the system for them anew takes most of the time.
  constexpr int kept_bytes = 1 << 26;
  H5set_free_list_limits(kept_bytes, kept_bytes, kept_bytes, kept_bytes, kept_bytes, kept_bytes);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const Id access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fapl_core(access.value, 1 << 16, false);
  H5Pset_fclose_degree(access.value, H5F_CLOSE_STRONG);
  const hid_t file = H5Fcreate("/dev/null/script", H5F_ACC_TRUNC, H5P_DEFAULT, access.value);
  const Id parents(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(parents.value, 1);
  if (script.byte() % 8 != 7) add_sound(script, file, parents.value);
  for (int i = 0; i < most_steps && !script.ended(); ++i) step(script, file, parents.value);
  H5Fflush(file, H5F_SCOPE_GLOBAL);
  std::string bytes(static_cast<size_t>(std::max<ssize_t>(0, H5Fget_file_image(file, nullptr, 0))),
                    '\0');
  H5Fget_file_image(file, bytes.data(), bytes.size());
  H5Fclose(file);
  H5Eclear2(H5E_DEFAULT);
  return bytes;
}

}  // namespace qsweep::fuzz
