// The workload without a model: sleeps seconds * length * (1 + spread * u) and returns numbers that
// depend on config, lengths and seed alone, so that clusters, schedulers and tests can be tried.
#include <chrono>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "eval/workloads.hpp"

namespace qsweep::eval {
namespace {

uint64_t hash_of(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a, 64 bits
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return splitmix64(hash);
}

}  // namespace

void run_synthetic(const RunInput& input, record::RunRecord& record) {
  const auto& params = std::get<SyntheticParams>(input.cell->params);
  const std::string key = input.config + "/" + input.cell->workload + "/" + input.cell->lengths;
  Rng time_rng(hash_of(key) ^ splitmix64(static_cast<uint64_t>(input.repeat)));
  const double share = 2 * time_rng.uniform() - 1;
  const double seconds =
      params.seconds * static_cast<double>(params.length) * (1 + params.spread * share);
  if (time_rng.uniform() < params.fail) {
    throw Error(ErrorKind::resource, "synthetic failure",
                "the study asks for a share of failing runs");
  }
  const Stopwatch watch;
  while (watch.seconds() < seconds) {
    input.check_stop();
    std::this_thread::sleep_for(
        std::chrono::duration<double>(std::min(0.01, std::max(0.0, seconds - watch.seconds()))));
  }
  // Items share their noise across configs, so that paired statistics have something to pair.
  Rng offset_rng(hash_of(input.config) ^ static_cast<uint64_t>(input.seed));
  Rng noise_rng(hash_of(input.cell->lengths) ^ static_cast<uint64_t>(input.seed));
  const double offset = offset_rng.uniform();
  std::vector<double> items;
  double sum = 0;
  for (int64_t i = 0; i < params.items; ++i) {
    items.push_back(1 + offset + 0.1 * noise_rng.uniform());
    sum += items.back();
  }
  record.metric("synthetic.value", sum / static_cast<double>(params.items));
  record.metric("synthetic.seconds", watch.seconds());
  record.put("samples/synthetic_items", std::move(items));
  record.set("protocol", std::string(R"({"kind":"synthetic"})"));
  record.set("protocol_fingerprint", sha256_hex(std::string_view(R"({"kind":"synthetic"})")));
}

}  // namespace qsweep::eval
