// The writer orders tensors by size of the element, largest first, then by name, and pads the
// header to a multiple of 8: then every tensor is aligned to its element in a mapping of the file.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model/checkpoint.hpp"

namespace qsweep::model {
namespace {

using Entry = std::pair<const std::string, TensorSource>;

std::vector<const Entry*> in_file_order(const std::map<std::string, TensorSource>& tensors) {
  std::vector<const Entry*> order;
  for (const Entry& entry : tensors) order.push_back(&entry);
  const auto element_bytes = [](const Entry* entry) {
    return tensor_bytes(entry->second.dtype, {8}, entry->first);
  };
  std::stable_sort(order.begin(), order.end(), [&](const Entry* a, const Entry* b) {
    return element_bytes(a) > element_bytes(b);
  });
  return order;
}

std::string header_text(const std::vector<const Entry*>& order,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const Entry* entry : order) {
    const auto& [name, source] = *entry;
    const uint64_t size = tensor_bytes(source.dtype, source.shape, name);
    header[name] = {{"dtype", source.dtype},
                    {"shape", source.shape},
                    {"data_offsets", {position, position + size}}};
    position += size;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

void write_file(std::ofstream& out, const std::vector<const Entry*>& order,
                const std::string& header) {
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  out.write(length, 8);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const Entry* entry : order) {
    const auto& [name, source] = *entry;
    uint64_t written = 0;
    source.write([&](std::span<const std::byte> bytes) {
      out.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
      written += bytes.size();
    });
    expect(written == tensor_bytes(source.dtype, source.shape, name),
           "a tensor's writer gives as many bytes as its shape says");
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<const Entry*> order = in_file_order(tensors);
  const std::string header = header_text(order, metadata);
  write_atomic(file, [&](const std::filesystem::path& temporary) {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    write_file(out, order, header);
    out.flush();
    if (!out) throw Error(ErrorKind::io, "cannot write " + file.string(), std::strerror(errno));
  });
}

void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, view] : tensors) {
    sources.emplace(name,
                    TensorSource{view.dtype, view.shape,
                                 [bytes = view.bytes](const ByteSink& sink) { sink(bytes); }});
  }
  write_safetensors(file, sources, metadata);
}

}  // namespace qsweep::model
