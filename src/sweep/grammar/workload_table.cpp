#include "sweep/grammar/workload_table.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace qsweep::sweep::grammar {
namespace {

using eval::WorkloadKind;
using enum FieldType;

constexpr double max_tokens = 1 << 24;  // beyond any context that a model states
constexpr double max_count = 1e9;

constexpr auto profile = std::to_array<Field>({
    {"prompt", "prompt", integer, "128", 1, max_tokens, true},
    {"output", "output", integer, "64", 1, max_tokens, true},
    {"warmup", "warmup", integer, "1", 0, 1000},
});
constexpr auto perplexity = std::to_array<Field>({
    {"data", "data", text, "wikitext2"},
    {"protocol", "protocol", word, "sliding", 0, 0, false, "sliding disjoint"},
    {"window", "window", integer, "2048", 2, max_tokens, true},
    {"stride", "stride", integer, "512", 1, max_tokens, true},
    {"max_tokens", "max_tokens", integer, "0", 0, max_count},
    {"reference", "reference", flag, "true"},
});
constexpr auto synthetic = std::to_array<Field>({
    {"seconds", "seconds", real, "0.1", 0, 86400},
    {"spread", "spread", real, "0.5", 0, 1},
    {"items", "items", integer, "64", 1, 1e6},
    {"lengths", "length", integer, "1", 1, 1e6, true},
    {"fail", "fail", real, "0", 0, 1},
});
constexpr auto tasks = std::to_array<Field>({
    {"names", "name", word, "", 0, 0, true,
     "hellaswag arc_easy arc_challenge openbookqa gsm8k lambada_openai squad open_maths choice "
     "arithmetic"},
    {"shots", "shots", integer, "0", 0, 64},
    {"limit", "limit", integer, "0", 0, max_count},
    {"mode", "mode", word, "one_shot", 0, 0, false, "one_shot through_cache"},
});
constexpr auto serving = std::to_array<Field>({
    {"concurrency", "concurrency", integer, "1", 1, 65536, true},
    {"prompt", "prompt", integer, "512", 1, max_tokens, true},
    {"output", "output", integer, "128", 1, max_tokens, true},
    {"requests", "requests", integer, "64", 1, 1e6},
});
constexpr auto passkey = std::to_array<Field>({
    {"lengths", "length", integer, "2048", 1, max_tokens, true},
    {"depths", "depths", integer, "5", 1, 1000},
    {"trials", "trials", integer, "20", 1, 1e6},
});
constexpr auto drift = std::to_array<Field>({
    {"length", "length", integer, "8192", 1, max_tokens, true},
    {"at", "at", integers, "64 512 2048 8192", 1, max_tokens},
});
constexpr auto sensitivity = std::to_array<Field>({
    {"by", "by", word, "layer", 0, 0, true, "layer module"},
    {"metric", "metric", text, "perplexity.nll"},
});

constexpr auto kinds = std::to_array<KindInfo>({
    {WorkloadKind::profile, "p{prompt}_o{output}", "", profile},
    {WorkloadKind::perplexity, "w{window}_s{stride}", "", perplexity},
    {WorkloadKind::synthetic, "n{length}", "", synthetic},
    {WorkloadKind::tasks, "{name}", "names", tasks},
    {WorkloadKind::serving, "c{concurrency}_p{prompt}_o{output}", "", serving},
    {WorkloadKind::passkey, "n{length}", "", passkey},
    {WorkloadKind::drift, "n{length}", "", drift},
    {WorkloadKind::sensitivity, "{by}", "", sensitivity},
});
static_assert(kinds.size() == enum_names<WorkloadKind>.size(), "every workload kind has its keys");

std::string lengths_of(const KindInfo& info, const nlohmann::json& params) {
  std::string text(info.lengths);
  for (const auto& [key, value] : params.items()) {
    const std::string mark = "{" + key + "}";
    const size_t at = text.find(mark);
    if (at == std::string::npos) continue;
    text.replace(at, mark.size(), value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

}  // namespace

const KindInfo& kind_info(WorkloadKind kind) {
  for (const KindInfo& info : kinds) {
    if (info.kind == kind) return info;
  }
  throw Error(ErrorKind::internal, "a workload kind without keys");
}

eval::Cell make_cell(WorkloadKind kind, const std::string& workload, const nlohmann::json& params) {
  eval::Cell cell;
  cell.kind = kind;
  cell.workload = workload;
  cell.lengths = lengths_of(kind_info(kind), params);
  switch (kind) {
    case WorkloadKind::profile:
      cell.params =
          eval::ProfileParams{params.at("prompt"), params.at("output"), params.at("warmup")};
      break;
    case WorkloadKind::perplexity: {
      const auto protocol =
          parse_name<eval::PerplexityProtocol>(params.at("protocol").get<std::string>());
      cell.params = eval::PerplexityParams{params.at("data"),       protocol.value(),
                                           params.at("window"),     params.at("stride"),
                                           params.at("max_tokens"), params.at("reference")};
      break;
    }
    case WorkloadKind::synthetic:
      cell.params =
          eval::SyntheticParams{params.at("seconds"), params.at("spread"), params.at("items"),
                                params.at("length"), params.at("fail")};
      break;
    case WorkloadKind::tasks:
    case WorkloadKind::serving:
    case WorkloadKind::passkey:
    case WorkloadKind::drift:
    case WorkloadKind::sensitivity:
      cell.params = eval::LaterParams{params.dump()};
  }
  return cell;
}

nlohmann::json params_of(const eval::Cell& cell) {
  return eval::to_json(cell).at("params");
}

}  // namespace qsweep::sweep::grammar
