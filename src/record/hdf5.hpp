// Thin owners over the HDF5 C library: files, groups, attributes, labelled datasets, external
// links. Every failure is an Error that names the file and the object. The serial HDF5 is not
// thread-safe: one thread at a time may use anything of this header, in the whole process.
//
//   auto file = File::create("sweep.h5");
//   file.root().write("aggregate/mean", {{n}, means}, {"1", "mean over repeats", {"row"}});   // n
//   values file.root().group("runs").external_link("r0", "results/C0/profile/p128_o64/r0.h5", "/");
//   file.close();
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "record/record.hpp"

namespace qsweep::record::hdf5 {

// Sole owner of an HDF5 identifier (hid_t); closes it by its kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(int64_t id) : id_(id) {}
  ~Handle();
  Handle(Handle&& other) noexcept : id_(other.id_) { other.id_ = -1; }
  Handle& operator=(Handle&& other) noexcept;
  int64_t get() const noexcept { return id_; }

 private:
  int64_t id_ = -1;
};

// What a dataset says of itself. One dimension name an axis; datasets of one group that share a
// name share a dimension scale, and so must have the same length there.
struct Labels {
  std::string units;  // "1" for dimensionless
  std::string long_name;
  std::vector<std::string> dims;
};

// What is read at most: hostile files declare sizes that they do not have.
struct Limits {
  uint64_t values = uint64_t{1} << 24;      // values of a dataset
  uint64_t text_bytes = uint64_t{1} << 26;  // bytes of all strings of a dataset or attribute
  uint64_t links = 100'000;                 // links of a group
  uint64_t texts = uint64_t{1} << 20;       // strings of a dataset
};

enum class LinkKind { hard, soft, external };
struct Link {
  std::string name;
  LinkKind kind = LinkKind::hard;
};

struct Shape {
  std::vector<int64_t> extent;  // per axis; empty: scalar
  char type = '?';  // 'i' integer, 'f' float, 's' UTF-8 string of variable length, '?' other
  std::string units, long_name;  // empty where absent
};

class Group {
 public:
  // Child group by path; created with its parents where it is missing (files open for writing).
  Group group(const std::string& path) const;
  bool has(const std::string& path) const;                   // follows no external link
  std::vector<Link> links(const Limits& limits = {}) const;  // by name
  bool is_group(const std::string& path) const;

  void set_attribute(const std::string& name, const Attribute& value) const;
  std::optional<Attribute> attribute(const std::string& name, const Limits& limits = {}) const;
  std::vector<std::string> attribute_names() const;

  // Creates the dataset (parents too). Empty shape: a scalar of one value. Where a dimension is
  // named as the dataset itself, the dataset is that dimension's scale; otherwise a scale 0..n-1
  // stands beside it.
  void write(const std::string& path, const Dataset& data, const Labels& labels) const;
  // Reads a whole dataset of integers, floats or variable-length UTF-8 strings. Refuses external
  // and virtual storage and filters other than deflate, shuffle and checksum.
  Dataset read(const std::string& path, const Limits& limits = {}) const;
  Shape shape(const std::string& path, const Limits& limits = {}) const;

  // `file` is stored as given; relative to the folder of this file.
  void external_link(const std::string& name, const std::string& file,
                     const std::string& object) const;

  std::string where(std::string_view path = {}) const;  // "run.h5:/samples", for messages

 private:
  friend class File;
  Group(Handle handle, std::string file, std::string path)
      : handle_(std::move(handle)), file_(std::move(file)), path_(std::move(path)) {}
  Handle handle_;
  std::string file_, path_;
};

class File {
 public:
  // Truncates. Format bound: nothing newer than HDF5 1.10 can read.
  static File create(const std::filesystem::path& file);
  // Read-only. Where the file system has no locks, opens without.
  static File open(const std::filesystem::path& file);
  // The same in memory: nothing touches a file system, so no lock is ever asked for.
  static File create_in_memory(const std::string& label);
  static File open_image(std::string_view bytes, const std::string& label);

  Group root() const;
  std::string image() const;  // the bytes of the file so far
  void close();               // throws where the destructor could not; no Group may be alive

 private:
  File(Handle handle, std::string label) : handle_(std::move(handle)), label_(std::move(label)) {}
  Handle handle_;
  std::string label_;
};

std::string library_version();  // "1.10.8"

}  // namespace qsweep::record::hdf5
