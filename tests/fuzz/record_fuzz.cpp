// record::read_record, read_record_summary and inspect_text: the seal, and everything that an HDF5
// file may say against the schema.
//
// HDF5 itself is not instrumented and crashes on files whose own structures are bent, which is what
// the seal is for. So the input is a script (record_script.hpp) that writes a sound HDF5 file
// through the library: schema names and others, with wrong types, ranks, extents, storage, filters,
// links and texts. First byte, modulo 4:
//   0     the rest of the input is the file, byte for byte
//   1     the script's file with a byte of it or of its seal changed
//   2     the script's file under its right seal, so that our own reading is reached
//   3     the same, read by its other readers too
// Promise: 0 and 1 are refused; what is accepted obeys the schema, in bounds and in UTF-8.
#include "base/files.hpp"
#include "base/utf8.hpp"
#include "fuzz/fuzz.hpp"
#include "fuzz/record_script.hpp"
#include "record/inspect.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "record/seal.hpp"

namespace qsweep::record {
namespace {

using fuzz::hold;

void check_text(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(std::string_view(text).substr(at));
    hold(length > 0 && text[at] != '\0', "texts are UTF-8 without zero bytes");
    at += length;
  }
}

void check(const RunRecord& record) {
  for (const auto& [name, value] : record.attributes) {
    hold(schema::find_attribute(name) != nullptr, "attributes stand in the schema");
    if (const auto* text = std::get_if<std::string>(&value)) check_text(*text);
  }
  uint64_t values = 0;
  for (const auto& [path, data] : record.datasets) {
    hold(schema::find_dataset(path) != nullptr, "datasets stand in the schema");
    uint64_t product = 1;
    for (const int64_t length : data.shape) product *= static_cast<uint64_t>(length);
    const uint64_t count =
        std::visit([](const auto& v) { return uint64_t{v.size()}; }, data.values);
    hold(product == count, "the shape is that of the values");
    values += count;
    if (const auto* texts = std::get_if<std::vector<std::string>>(&data.values)) {
      for (const std::string& text : *texts) check_text(text);
    }
  }
  hold(values <= uint64_t{1} << 24, "the values of a file are bounded");
  for (const auto& [name, value] : record.metrics) {
    hold(schema::find_metric(name) != nullptr, "metrics stand in the schema");
  }
}

void read_all(const std::filesystem::path& path, bool every_reader) {
  check(read_record(path));
  if (!every_reader) return;  // each of them opens the file anew
  check(read_samples(path));
  const std::string sealed = read_file(path, max_run_bytes);
  const RunState state = parse_run_state(unseal(sealed, path.string()), path.string());
  for (const std::string* text : {&state.run_id, &state.status, &state.error}) check_text(*text);
  hold(!inspect_text(path).empty(), "a record can be shown");
}

std::string file_of(std::string_view input, unsigned mode) {
  if (mode == 0) return std::string(input);
  fuzz::Script script(input);
  const unsigned where = script.byte() | script.byte() << 8;
  const unsigned change = script.byte();
  std::string file = seal(fuzz::hdf5_file(script));
  if (mode == 1) file[where * file.size() / 65536] ^= static_cast<char>(change | 1);
  return file;
}

}  // namespace
}  // namespace qsweep::record

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qsweep;
  if (size == 0) return 0;
  static const fuzz::MemoryFile memory;
  const unsigned mode = data[0] % 4;
  const std::string file = record::file_of(fuzz::as_text(data + 1, size - 1), mode);
  const auto path = memory.write(file);
  const bool read = fuzz::accepted([&] { record::read_all(path, mode == 3); });
  // An input that carries a right SHA-256 of itself would be accepted; nobody finds one by chance.
  if (mode < 2) fuzz::hold(!read, "a file without its seal is refused");
  return 0;
}
