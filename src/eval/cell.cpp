#include "eval/cell.hpp"

#include <nlohmann/json.hpp>

namespace qsweep::eval {
namespace {

nlohmann::json params_json(const ProfileParams& params) {
  return {{"prompt", params.prompt}, {"output", params.output}, {"warmup", params.warmup}};
}

nlohmann::json params_json(const PerplexityParams& params) {
  return {{"data", params.data},
          {"protocol", name_of(params.protocol)},
          {"window", params.window},
          {"stride", params.stride},
          {"max_tokens", params.max_tokens},
          {"reference", params.reference}};
}

nlohmann::json params_json(const SyntheticParams& params) {
  return {{"seconds", params.seconds},
          {"spread", params.spread},
          {"items", params.items},
          {"length", params.length},
          {"fail", params.fail}};
}

nlohmann::json params_json(const LaterParams& params) {
  return nlohmann::json::parse(params.json);
}

}  // namespace

nlohmann::json to_json(const Cell& cell) {
  return {
      {"kind", name_of(cell.kind)},
      {"workload", cell.workload},
      {"lengths", cell.lengths},
      {"params", std::visit([](const auto& params) { return params_json(params); }, cell.params)}};
}

}  // namespace qsweep::eval
