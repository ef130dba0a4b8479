// Reads arrays of a NumPy .npz whose members are stored, not compressed (numpy.savez): a zip of
// .npy files, found through the central directory; a .npy is magic, version, header length, a
// Python dict, then the raw elements.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/files.hpp"

namespace qsweep::test {

class Npz {
 public:
  explicit Npz(const std::filesystem::path& file) : bytes_(read_file(file, 1u << 30)) {
    const size_t end = bytes_.rfind("PK\x05\x06");
    if (end == std::string::npos) throw std::runtime_error("no zip directory in " + file.string());
    size_t entry = at<uint32_t>(end + 16);
    for (uint16_t i = 0; i < at<uint16_t>(end + 10); ++i) {
      const auto method = at<uint16_t>(entry + 10), name_length = at<uint16_t>(entry + 28);
      const size_t skip = at<uint16_t>(entry + 30) + at<uint16_t>(entry + 32);
      if (method != 0) throw std::runtime_error("compressed member in " + file.string());
      const std::string name = bytes_.substr(entry + 46, name_length);
      const size_t local = at<uint32_t>(entry + 42);
      const size_t begin = local + 30 + at<uint16_t>(local + 26) + at<uint16_t>(local + 28);
      members_[name.substr(0, name.rfind(".npy"))] = bytes_.substr(begin, at<uint32_t>(entry + 24));
      entry += 46 + name_length + skip;
    }
  }

  template <class T>
  std::vector<T> array(const std::string& name) const {
    const std::string& npy = members_.at(name);
    uint16_t header_length;
    std::memcpy(&header_length, npy.data() + 8, 2);
    const std::string header = npy.substr(10, header_length);
    const std::string type = std::is_same_v<T, float> ? "'<f4'" : "'<i4'";
    if (header.find(type) == std::string::npos) throw std::runtime_error(name + " is not " + type);
    std::vector<T> values((npy.size() - 10 - header_length) / sizeof(T));
    std::memcpy(values.data(), npy.data() + 10 + header_length, values.size() * sizeof(T));
    return values;
  }

 private:
  template <class T>
  T at(size_t offset) const {
    T value;
    if (offset + sizeof(T) > bytes_.size()) throw std::runtime_error("truncated zip");
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  std::string bytes_;
  std::map<std::string, std::string> members_;
};

}  // namespace qsweep::test
