// safetensors: u64 little-endian N | N bytes of JSON {"name": {"dtype", "shape", "data_offsets":
// [begin, end)}} | data. The entries must tile the data exactly, in some order, so that no byte is
// read twice or left out.
#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.hpp"
#include "model/checkpoint.hpp"
#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model {
namespace {

using tok::Place;

constexpr uint64_t max_header_bytes = 100'000'000;
constexpr size_t max_dimensions = 32;

constexpr std::array<std::pair<std::string_view, uint64_t>, 22> dtype_bits = {{
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
}};

struct Extent {
  uint64_t begin, end;
  const std::string* name;
};

uint64_t read_header_length(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < 8) {
    throw_invalid(name + ": not a safetensors file",
                  std::to_string(file.size()) + " bytes, the header length alone takes 8");
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<uint64_t>(file[i]);
  if (length > max_header_bytes) {
    throw_invalid(name + ": header too long",
                  std::to_string(length) + " bytes, at most " + std::to_string(max_header_bytes));
  }
  if (length > file.size() - 8) {
    throw_invalid(name + ": truncated header",
                  "it claims " + std::to_string(length) + " bytes, the file has " +
                      std::to_string(file.size() - 8) + " after the length");
  }
  return length;
}

std::map<std::string, std::string> read_metadata(const Place& place) {
  if (!place.is_object()) place.fail("wrong type", "expected an object of strings");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : place.value().items()) metadata[key] = place.at(key).string();
  return metadata;
}

std::vector<int64_t> read_shape(const Place& place) {
  if (place.size() > max_dimensions)
    place.fail("too many dimensions", std::to_string(place.size()));
  std::vector<int64_t> shape;
  for (size_t i = 0; i < place.size(); ++i) shape.push_back(place.at(i).integer(0, INT64_MAX));
  return shape;
}

// One entry, checked against the data's size and its own dtype and shape; adds its extent.
TensorView read_entry(const Place& entry, std::span<const std::byte> data, const std::string& name,
                      std::vector<Extent>& extents) {
  if (!entry.is_object()) entry.fail("wrong type", "expected an object");
  TensorView view;
  view.dtype = entry.at("dtype").string();
  view.shape = read_shape(entry.at("shape"));
  const Place offsets = entry.at("data_offsets");
  if (offsets.size() != 2) offsets.fail("wrong number of offsets", "expected [begin, end]");
  const auto begin = static_cast<uint64_t>(offsets.at(size_t{0}).integer(0, INT64_MAX));
  const auto end = static_cast<uint64_t>(offsets.at(size_t{1}).integer(0, INT64_MAX));
  if (end < begin)
    offsets.fail("end before begin", std::to_string(begin) + ", " + std::to_string(end));
  if (end > data.size()) {
    offsets.fail(
        "tensor outside the file",
        "ends at " + std::to_string(end) + " of " + std::to_string(data.size()) + " data bytes",
        "is the download complete?");
  }
  const uint64_t expected = tensor_bytes(view.dtype, view.shape, entry.path());
  if (end - begin != expected) {
    offsets.fail(
        "size does not match dtype and shape",
        "expected " + std::to_string(expected) + " bytes, found " + std::to_string(end - begin));
  }
  view.bytes = data.subspan(begin, end - begin);
  extents.push_back({begin, end, &name});
  return view;
}

void check_tiling(std::vector<Extent>& extents, uint64_t data_size, const std::string& file) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t position = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != position) {
      throw_invalid(
          file + ": tensor '" + *extent.name + "' " +
              (extent.begin < position ? "overlaps another" : "leaves a hole before it"),
          "begins at " + std::to_string(extent.begin) + ", expected " + std::to_string(position));
    }
    position = extent.end;
  }
  if (position != data_size) {
    throw_invalid(file + ": bytes after the last tensor",
                  std::to_string(data_size - position) + " bytes belong to no tensor");
  }
}

}  // namespace

uint64_t tensor_bytes(const std::string& dtype, const std::vector<int64_t>& shape,
                      const std::string& place) {
  const auto found = std::find_if(dtype_bits.begin(), dtype_bits.end(),
                                  [&](const auto& entry) { return entry.first == dtype; });
  if (found == dtype_bits.end()) {
    throw_invalid(place + ": unknown dtype '" + dtype.substr(0, 40) + "'",
                  "not a safetensors dtype");
  }
  uint64_t bits = found->second;
  // A zero dimension makes the tensor empty whatever the others say, but their product must still
  // be a number.
  uint64_t elements = 1;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(dimension), &elements)) {
      throw_invalid(place + ": shape overflows", "more than 2^64 elements");
    }
  }
  if (__builtin_mul_overflow(bits, elements, &bits)) {
    throw_invalid(place + ": shape overflows", "more than 2^64 bits");
  }
  if (bits % 8 != 0) {
    throw_invalid(place + ": elements do not fill whole bytes", std::to_string(bits) + " bits");
  }
  return bits / 8;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : file_(file) {
  const std::string name = file.string();
  const auto bytes = file_.bytes();
  const uint64_t header_length = read_header_length(bytes, name);
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_length);
  if (header.empty() || header.front() != '{') {
    throw_invalid(name + ": header is no JSON object", "it must start with '{'");
  }
  const nlohmann::json json = tok::parse_strict_json(header, name);
  const auto data = bytes.subspan(8 + header_length);
  const Place root(json, name + ": ");
  std::vector<Extent> extents;
  for (const auto& [key, value] : json.items()) {
    if (key == "__metadata__") {
      metadata_ = read_metadata(root.at(key));
      continue;
    }
    const auto place = tensors_.emplace(key, TensorView{}).first;
    place->second = read_entry(Place(value, name + ": tensor '" + key.substr(0, 200) + "'"), data,
                               place->first, extents);
  }
  check_tiling(extents, data.size(), name);
}

}  // namespace qsweep::model
