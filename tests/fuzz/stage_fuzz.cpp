// What publishers and the hub send, and the list that says where to ask. First byte: which reader.
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "fuzz/fuzz.hpp"
#include "stage/convert.hpp"
#include "stage/hub_cache.hpp"
#include "stage/json_detail.hpp"
#include "stage/wanted.hpp"
#include "sweep/plan/dataset_list.hpp"

namespace {

using namespace qsweep;

// Every line of a converted text is an object, as many as were counted, and converting it again is
// the same bytes.
void convert_text(stage::Conversion conversion, std::string_view text) {
  stage::Converted out;
  if (!fuzz::accepted([&] { out = stage::convert(conversion, text, "name", "place"); })) return;
  size_t rows = 0;
  for (size_t begin = 0; begin < out.jsonl.size(); ++rows) {
    const size_t end = out.jsonl.find('\n', begin);
    fuzz::hold(end != std::string::npos, "a row has an end");
    const auto row = nlohmann::json::parse(out.jsonl.substr(begin, end - begin), nullptr, false);
    fuzz::hold(row.is_object(), "a row is an object");
    if (row.contains("choices"))
      fuzz::hold(row["answer"] < row["choices"].size(), "the answer is one of the choices");
    begin = end + 1;
  }
  fuzz::hold(rows == out.rows && rows > 0, "rows are counted");
}

void read_list(std::string_view text) {
  fuzz::accepted([&] {
    for (const auto& source : sweep::parse_dataset_list(std::string(text), "list")) {
      fuzz::hold(!source.urls.empty() && !source.files.empty(), "a source has address and files");
      for (const auto& file : source.files)
        fuzz::hold(is_safe_name(file.name), "a dataset's name is safe");
    }
  });
}

void read_index(std::string_view text) {
  fuzz::accepted([&] {
    for (const auto& shard : stage::shards_of_index(std::string(text), "index"))
      fuzz::hold(is_safe_name(shard) && stage::is_safe_repository_path(shard), "a shard is safe");
  });
}

void read_names(std::string_view text) {
  if (const auto id = stage::parse_hub_id(std::string(text))) {
    const stage::CachedRepository repository("/cache", *id);
    const std::string path = repository.snapshot(std::string(40, 'a')).lexically_normal().string();
    fuzz::hold(path.starts_with("/cache/models--"), "an id stays in the cache");
  }
  if (stage::is_safe_repository_path(std::string(text)))
    fuzz::hold(text.find("..") != 0 && text.find("/.") == std::string_view::npos, "no way out");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = qsweep::fuzz::as_text(data, size).substr(1);
  constexpr auto conversions = enum_names<stage::Conversion>;
  const size_t reader = data[0] % (conversions.size() + 3);
  if (reader < conversions.size()) {
    convert_text(conversions[reader].first, text);
  } else if (reader == conversions.size()) {
    read_list(text);
  } else if (reader == conversions.size() + 1) {
    read_index(text);
  } else {
    read_names(text);
  }
  return 0;
}
