// Latency, throughput and memory of one request: prefill `prompt` tokens, then greedy decoding of
// `output` tokens.
//
//   TTFT  submission to first output token (prefill and its argmax)
//   TPOT  (end to end - TTFT) / (output - 1)
// On the GPU a step starts before the host has the token in front of it: each token's time is that
// from the one before to its own arrival.
// Prompt tokens are uniform random ids: speed does not depend on their meaning, and every config
// sees the same.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/clock.hpp"
#include "base/rng.hpp"
#include "eval/gpu_watch.hpp"
#include "eval/workloads.hpp"

namespace qsweep::eval {
namespace {

struct Timeline {
  std::vector<double> latency_ms;              // [output]; the first is TTFT
  std::vector<int64_t> ids;                    // [output]
  uint64_t prefill_peak = 0, decode_peak = 0;  // bytes
};

std::vector<int32_t> random_prompt(int64_t length, int64_t vocab, int64_t seed) {
  Rng rng(splitmix64(static_cast<uint64_t>(seed) ^ 0x70726F6D7074ull));  // "prompt"
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(rng.below(static_cast<uint32_t>(vocab)));
  return tokens;
}

Timeline generate(const RunInput& input, const ProfileParams& params, model::State& state,
                  std::span<const int32_t> prompt) {
  Timeline timeline;
  device::reset_peak();
  Stopwatch watch;
  int32_t token = model::next_token(*input.context, *input.model, {&state, prompt});
  timeline.latency_ms.push_back(watch.seconds() * 1e3);
  watch.restart();
  timeline.ids.push_back(token);
  timeline.prefill_peak = device::memory_usage(input.context->place()).peak_total;
  device::reset_peak();
  for (int64_t i = 1; i < params.output; ++i) {
    input.check_stop();
    token = model::next_token(*input.context, *input.model, {&state, {&token, 1}},
                              i + 1 < params.output);
    timeline.latency_ms.push_back(watch.seconds() * 1e3);
    watch.restart();
    timeline.ids.push_back(token);
  }
  timeline.decode_peak = device::memory_usage(input.context->place()).peak_total;
  return timeline;
}

double process_peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

// Time the work needs at the ceilings, over the time it took.
double roofline_fraction(const model::Work& work, const Ceilings& ceilings, double seconds) {
  const double floor =
      std::max(work.bytes / ceilings.bytes_per_s, work.flops / ceilings.flops_per_s);
  return floor / seconds;
}

void put_work(const RunInput& input, const ProfileParams& params, double ttft_s, double decode_s,
              record::RunRecord& record) {
  const Ceilings ceilings =
      measure_ceilings(*input.context, model::resident_weight_bytes(*input.baseline));
  const model::Work prefill = model::prefill_work(*input.model, params.prompt);
  model::Work decode;
  for (int64_t i = 1; i < params.output; ++i) {
    const model::Work step = model::decode_work(*input.model, params.prompt + i);
    decode.bytes += step.bytes;
    decode.flops += step.flops;
  }
  const auto steps = static_cast<double>(params.output - 1);
  record.metric("profile.prefill_bytes", prefill.bytes);
  record.metric("profile.prefill_flops", prefill.flops);
  record.metric("profile.ceiling_bytes_per_s", ceilings.bytes_per_s);
  record.metric("profile.ceiling_flops_per_s", ceilings.flops_per_s);
  record.metric("profile.prefill_fraction", roofline_fraction(prefill, ceilings, ttft_s));
  if (params.output > 1) {
    record.metric("profile.decode_bytes", decode.bytes / steps);
    record.metric("profile.decode_flops", decode.flops / steps);
    record.metric("profile.decode_fraction", roofline_fraction(decode, ceilings, decode_s));
  }
}

// The counter is renewed some ten times a second: a shorter measurement sees none, which is not
// zero.
double energy_between(std::optional<double> before, std::optional<double> after) {
  const bool seen = before && after && *after > *before;
  return seen ? *after - *before : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

void run_profile(const RunInput& input, record::RunRecord& record) {
  const auto& params = std::get<ProfileParams>(input.cell->params);
  const std::vector<int32_t> prompt =
      random_prompt(params.prompt, model::config_of(*input.model).vocab, input.seed);
  const auto state = model::make_state(*input.model, params.prompt + params.output);
  for (int64_t round = 0; round < params.warmup; ++round) {
    generate(input, params, *state, prompt);
    model::reset_state(*state);
  }
  const auto energy_before = energy_j(*input.context);
  Timeline timeline = generate(input, params, *state, prompt);
  const auto energy_after = energy_j(*input.context);

  double total_ms = 0;
  for (const double latency : timeline.latency_ms) total_ms += latency;
  const double ttft_ms = timeline.latency_ms.front();
  const auto steps = static_cast<double>(params.output - 1);
  record.metric("profile.ttft_ms", ttft_ms);
  record.metric("profile.e2e_ms", total_ms);
  record.metric("profile.prefill_tokens_per_s",
                static_cast<double>(params.prompt) / (ttft_ms * 1e-3));
  if (params.output > 1) {
    record.metric("profile.tpot_ms", (total_ms - ttft_ms) / steps);
    record.metric("profile.first_decode_ms", timeline.latency_ms[1]);
    record.metric("profile.decode_tokens_per_s", steps / ((total_ms - ttft_ms) * 1e-3));
  }
  record.metric("profile.prefill_peak_bytes", static_cast<double>(timeline.prefill_peak));
  record.metric("profile.decode_peak_bytes", static_cast<double>(timeline.decode_peak));
  record.metric("profile.process_peak_bytes", process_peak_bytes());
  record.metric("profile.weight_bytes",
                static_cast<double>(model::resident_weight_bytes(*input.model)));
  record.metric("profile.state_bytes", static_cast<double>(model::state_bytes(*state)));
  // Null, never zero, where there is no counter.
  record.metric("profile.energy_j", energy_between(energy_before, energy_after));
  put_work(input, params, ttft_ms * 1e-3, (total_ms - ttft_ms) * 1e-3, record);
  record.put("samples/token_latency_ms", std::move(timeline.latency_ms));
  record.put("samples/output_ids", std::move(timeline.ids));
}

}  // namespace qsweep::eval
