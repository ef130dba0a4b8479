// model::SafetensorsFile: the length word, the JSON header, dtypes, shapes, offsets and their
// tiling, metadata.
//
// Input: one byte of mode. Even: the rest is the file as it is. Odd: two bytes of data size, then
// the header's text; the length word is made to fit, so that mutations of the header reach the
// parser.
// Promise: the tensors of an accepted file tile its data, and every byte of them can be read.
#include "fuzz/fuzz.hpp"
#include "model/checkpoint.hpp"

namespace qsweep {
namespace {

std::string file_of(std::string_view input) {
  if (input.empty() || input[0] % 2 == 0 || input.size() < 3) {
    return std::string(input.substr(std::min<size_t>(1, input.size())));
  }
  const size_t data = static_cast<uint8_t>(input[1]) | static_cast<size_t>(input[2] & 0x0F) << 8;
  const std::string_view header = input.substr(3);
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(uint64_t{header.size()} >> 8 * i));
  return file.append(header).append(data, 'x');
}

void check(const std::filesystem::path& path, size_t file_size) {
  const model::SafetensorsFile file(path);
  size_t bytes = 0;
  unsigned sum = 0;
  for (const auto& [name, view] : file.tensors()) {
    bytes += view.bytes.size();
    for (const std::byte byte : view.bytes) sum += std::to_integer<unsigned>(byte);
    fuzz::hold(model::tensor_bytes(view.dtype, view.shape, name) == view.bytes.size(),
               "the bytes of a tensor are those of its dtype and shape");
  }
  fuzz::hold(sum <= 255 * bytes, "bytes can be summed");
  fuzz::hold(bytes + 8 <= file_size, "the tensors lie inside the file");
}

}  // namespace
}  // namespace qsweep

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qsweep::fuzz::MemoryFile memory;
  const std::string file = qsweep::file_of(qsweep::fuzz::as_text(data, size));
  const auto path = memory.write(file);
  qsweep::fuzz::accepted([&] { qsweep::check(path, file.size()); });
  return 0;
}
