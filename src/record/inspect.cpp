#include "record/inspect.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"

namespace qsweep::record {
namespace {

constexpr size_t max_line = 160;  // characters of an attribute shown

std::string text_of(const Attribute& value) {
  const std::string text =
      tamed(std::visit([](const auto& v) { return fmt::format("{}", v); }, value));
  if (text.size() <= max_line) return text;
  size_t end = max_line;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // whole characters
  return text.substr(0, end) + "...";
}

std::string shape_text(const Dataset& data) {
  std::string text;
  for (const int64_t length : data.shape)
    text += (text.empty() ? "" : " x ") + std::to_string(length);
  return text;
}

std::string range_text(const Dataset& data) {
  return std::visit(
      [](const auto& values) -> std::string {
        if (values.empty()) return "empty";
        if constexpr (std::is_same_v<std::decay_t<decltype(values.front())>, std::string>) {
          return text_of(Attribute(values.front())) + (values.size() > 1 ? ", ..." : "");
        } else {
          const auto [low, high] = std::ranges::minmax_element(values);
          return fmt::format("{:.6g} .. {:.6g}", static_cast<double>(*low),
                             static_cast<double>(*high));
        }
      },
      data.values);
}

// Cell of row `row` of a certificate column, or "-" where the column is not there.
std::string cell(const RunRecord& record, const std::string& column, size_t row) {
  const auto found = record.datasets.find("certificate/" + column);
  if (found == record.datasets.end()) return "-";
  return std::visit(
      [&](const auto& values) -> std::string {
        if (row >= values.size()) return "-";
        using Value = std::decay_t<decltype(values.front())>;
        if constexpr (std::is_same_v<Value, double>) {
          return fmt::format("{:.2f}", values[row]);
        } else {
          return text_of(Attribute(values[row]));
        }
      },
      found->second.values);
}

std::string certificate_text(const RunRecord& record) {
  const auto tensors = record.datasets.find("certificate/tensor");
  if (tensors == record.datasets.end()) return "\ncertificate: none\n";
  const auto& names = std::get<std::vector<std::string>>(tensors->second.values);
  std::string text = fmt::format(
      "\ncertificate ({} linears): found / promised format, resident / formula bytes, found / "
      "expected calls,\nfound / promised activations and calls that rounded them, SQNR [dB] in its "
      "band, hash of the packed bytes, kernels\n",
      names.size());
  for (size_t row = 0; row < names.size(); ++row) {
    const auto at = [&](const char* column) { return cell(record, column, row); };
    text += fmt::format(
        "  {:<40} {} / {}  {} / {} B  {} / {}  {} / {} x{}  {} in [{}, {}]  {:.12}  {}\n",
        text_of(Attribute(names[row])), at("format"), at("expected_format"), at("bytes"),
        at("formula_bytes"), at("calls"), at("expected_calls"), at("activations"),
        at("expected_activations"), at("activation_calls"), at("sqnr_db"), at("sqnr_low_db"),
        at("sqnr_high_db"), at("hash_packed"), at("kernels"));
  }
  return text;
}

}  // namespace

std::string inspect_text(const std::filesystem::path& file) {
  const RunRecord record = read_record(file);
  std::string text = file.string() + "\n\nattributes\n";
  for (const schema::AttributeInfo& info : schema::attributes()) {
    const auto found = record.attributes.find(std::string(info.name));
    if (found != record.attributes.end()) {
      text += fmt::format("  {:<22} {}\n", info.name, text_of(found->second));
    }
  }
  text += "\nmetrics\n";
  for (const schema::MetricInfo& info : schema::metrics()) {
    const auto found = record.metrics.find(std::string(info.name));
    if (found != record.metrics.end()) {
      text += fmt::format("  {:<32} {:>14.6g} {:<10} {}\n", info.name, found->second, info.units,
                          info.long_name);
    }
  }
  text += "\ndatasets\n";
  for (const auto& [path, data] : record.datasets) {
    const schema::DatasetInfo& info = *schema::find_dataset(path);
    text += fmt::format("  {:<30} {:>12} {:<10} {}  [{}]\n", path, shape_text(data), info.units,
                        info.long_name, range_text(data));
  }
  return text + certificate_text(record);
}

}  // namespace qsweep::record
