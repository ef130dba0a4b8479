#include "sweep/executor.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "device/gpu.hpp"
#include "eval/gpu_watch.hpp"
#include "record/provenance.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "sweep/calibration.hpp"
#include "sweep/plan/locate.hpp"
#include "sweep/plan/text_tokens.hpp"

namespace qsweep::sweep {
namespace {

size_t find_config(const Study& study, const std::string& name) {
  const auto found =
      std::find_if(study.configs.begin(), study.configs.end(),
                   [&](const quant::QuantConfig& config) { return config.name == name; });
  expect(found != study.configs.end(), "the baseline is one of the study's configs");
  return static_cast<size_t>(found - study.configs.begin());
}

int bits_of(device::Compute compute) {
  return compute == device::Compute::bf16 ? 16 : 32;
}

// Weights outside any scope have the checkpoint's own width.
int checkpoint_bits(const std::string& dtype) {
  return dtype == "float32" ? 32 : 16;
}

// A config without formats of its own, on a folder that is quantized already, runs what the folder
// holds.
const quant::QuantConfig& held_config(const quant::QuantConfig& config, const model::Model& model) {
  return config.weights ? config : model::quantization_of(model);
}

// "absmax, wikitext2_train 128 x 2048"
std::string calibration_name(const quant::ConfigSummary& summary, const Study& study) {
  if (summary.calib_method == "none" || !study.calibration) return summary.calib_method;
  return fmt::format("{}, {} {} x {}", summary.calib_method, study.calibration->data,
                     study.calibration->samples, study.calibration->length);
}

void set_summary(const quant::QuantConfig& config, const Plan& plan, const device::Context& context,
                 record::RunRecord& record) {
  const quant::ConfigSummary summary = quant::summarize(config, bits_of(context.compute));
  record.set("w_bits",
             int64_t{config.weights ? summary.w_bits : checkpoint_bits(plan.shape.dtype)});
  record.set("a_bits", int64_t{summary.a_bits});
  record.set("kv_bits", int64_t{summary.kv_bits});
  record.set("group_size", summary.group_size);
  record.set("per_channel", int64_t{summary.per_channel ? 1 : 0});
  record.set("scale_format", summary.scale_format);
  record.set("quant_method", summary.quant_method);
  record.set("quant_backend", std::string(name_of(context.backend)));
  record.set("calib_method", calibration_name(summary, plan.study));
  record.set("weight_format", summary.weight_format);
}

std::string reading_text(const model::LoadReport& report) {
  if (report.read_bytes == 0) return {};
  const double gigabytes = static_cast<double>(report.read_bytes) * 1e-9;
  return fmt::format(", {:.3f} GB read in {:.3f} s ({:.1f} GB/s)", gigabytes, report.read_seconds,
                     gigabytes / report.read_seconds);
}

void set_config(const quant::QuantConfig& config, record::RunRecord& record) {
  record.set("config", config.name);
  record.set("duplicate_of", config.duplicate_of);
  record.set("config_json", quant::to_json(config).dump());
}

}  // namespace

Executor::Executor(const Plan& plan, ExecutorOptions options)
    : plan_(plan),
      options_(std::move(options)),
      baseline_(find_config(plan.study, plan.study.baseline)),
      references_(eval::max_reference_bytes) {
  options_.context.calls = &calls_;
}

Executor::~Executor() = default;

std::set<size_t> Executor::resident() const {
  std::set<size_t> configs;
  for (const auto& [config, model] : models_) configs.insert(config);
  return configs;
}

void Executor::load_checkpoint() {
  if (checkpoint_) return;
  checkpoint_ = model::Checkpoint::open(locate_model(plan_.study));
  tokenizer_ = std::make_unique<model::Tokenizer>(model::Tokenizer::load(checkpoint_->folder()));
}

// Drops the configs longest unused until their weights fit; never the baseline, which the others
// share.
void Executor::make_room(size_t keep) {
  const device::Place place = options_.context.place();
  const auto held = [place] { return device::memory_usage(place).current[0]; };
  while (options_.memory_bytes > 0 && held() > options_.memory_bytes) {
    auto oldest = models_.end();
    for (auto it = models_.begin(); it != models_.end(); ++it) {
      if (it->first == keep || it->first == baseline_) continue;
      if (oldest == models_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
    }
    if (oldest == models_.end()) return;
    options_.log("dropping config " + plan_.study.configs[oldest->first].name + " to make room");
    models_.erase(oldest);
  }
}

// Leaves the baseline and the one config; whether there were others.
bool Executor::drop_others(size_t keep) {
  return std::erase_if(models_, [&](const auto& entry) {
           return entry.first != keep && entry.first != baseline_;
         }) > 0;
}

// Measured once and kept for all configs; empty where none are needed.
const model::ActivationRanges& Executor::ranges_for(size_t config, const model::Model* baseline) {
  static const model::ActivationRanges none;
  if (!needs_calibration(*checkpoint_, plan_.study.configs[config])) return none;
  if (!ranges_) {
    const Calibrator calibrator{plan_.study, checkpoint_, *tokenizer_, options_.check_stop,
                                options_.log};
    ranges_ = calibrate(calibrator, options_.context, baseline);
  }
  return *ranges_;
}

Executor::Loaded Executor::load(size_t config, const model::Model* baseline,
                                model::RawWeights raw) {
  const Stopwatch watch;
  load_checkpoint();
  Loaded loaded;
  loaded.entry.model =
      model::build_model(checkpoint_, plan_.study.configs[config], options_.context, baseline,
                         &loaded.report, raw, ranges_for(config, baseline));
  loaded.entry.residency.errors = std::move(loaded.report.errors);
  loaded.seconds = watch.seconds();
  return loaded;
}

// `baseline`: null where the config is the baseline itself.
Executor::Resident& Executor::keep(size_t config, Loaded loaded, model::Model* baseline) {
  const Stopwatch watch;
  Resident& entry = loaded.entry;
  entry.residency.canary = eval::measure_canary(options_.context, *entry.model,
                                                baseline == nullptr ? *entry.model : *baseline);
  entry.last_use = ++clock_;
  const double seconds = loaded.seconds + watch.seconds();
  load_seconds_ += seconds;
  options_.log(fmt::format("config {} resident after {:.3f} s, quantization {:.3f} s{}",
                           plan_.study.configs[config].name, seconds,
                           loaded.report.quantize_seconds, reading_text(loaded.report)));
  Resident& stored = models_.emplace(config, std::move(entry)).first->second;
  make_room(config);
  return stored;
}

Executor::Resident& Executor::resident_model(size_t config) {
  const auto found = models_.find(config);
  if (found != models_.end()) {
    found->second.last_use = ++clock_;
    return found->second;
  }
  model::Model* baseline = config == baseline_ ? nullptr : resident_model(baseline_).model.get();
  return keep(config, load(config, baseline, model::RawWeights::read), baseline);
}

std::vector<std::span<std::byte>> Executor::start_baseline(model::RawWeights raw) {
  started_ = load(baseline_, nullptr, raw);
  return started_->report.raw;
}

void Executor::finish_baseline() {
  expect(started_.has_value(), "the baseline was started");
  Loaded loaded = std::move(*started_);
  started_.reset();
  keep(baseline_, std::move(loaded), nullptr);
}

const eval::TokenizedText& Executor::text_of(const eval::PerplexityParams& params) {
  const std::string key = params.data + "\n" + std::to_string(params.max_tokens);
  const auto found = texts_.find(key);
  if (found != texts_.end()) return found->second;
  return texts_.emplace(key, tokens_of(plan_.study, params, *tokenizer_, checkpoint_->folder()))
      .first->second;
}

record::RunRecord Executor::start_record(const Run& run) const {
  const eval::Cell& cell = plan_.cells[run.cell];
  record::RunRecord record;
  record::set_provenance(record, options_.rank, options_.ranks);
  record.set("schema_version", record::schema::version);
  record.set("run_id", run.id);
  record.set("study", plan_.study.name);
  record.set("workload", cell.workload);
  record.set("workload_kind", std::string(name_of(cell.kind)));
  record.set("lengths", cell.lengths);
  record.set("repeat", run.repeat);
  record.set("model", plan_.study.model);
  record.set("model_fingerprint", plan_.model_fingerprint);
  record.set("backend", std::string(name_of(options_.context.backend)));
  record.set("compute", std::string(name_of(options_.context.compute)));
  record.set("threads", int64_t{options_.context.threads});
  record.set("seed", plan_.study.seed);
  record.set("attempt", int64_t{1});
  record.set("start", utc_now_iso());
  set_config(plan_.study.configs[run.config], record);
  set_summary(plan_.study.configs[run.config], plan_, options_.context, record);
  return record;
}

void Executor::run_cell(const Run& run, record::RunRecord& record) {
  const quant::QuantConfig& config = plan_.study.configs[run.config];
  const eval::Cell& cell = plan_.cells[run.cell];
  eval::RunInput input;
  input.cell = &cell;
  input.context = &options_.context;
  input.config = config.duplicate_of.empty() ? config.name : config.duplicate_of;
  input.repeat = run.repeat;
  input.seed = plan_.study.seed;
  input.check_stop = options_.check_stop;
  if (!eval::needs_model(cell.kind)) {
    eval::run_workload(input, record);
    return;
  }
  Resident& resident = resident_model(run.config);
  input.model = resident.model.get();
  input.baseline = resident_model(baseline_).model.get();
  input.tokenizer = tokenizer_.get();
  input.references = &references_;
  if (const auto* params = std::get_if<eval::PerplexityParams>(&cell.params))
    input.text = &text_of(*params);
  const eval::Witness witness(*resident.model);
  eval::run_workload(input, record);
  const quant::QuantConfig& held = held_config(config, *resident.model);
  set_summary(held, plan_, options_.context, record);
  // What a folder holds packed was quantized by `qsweep quantize`, on the CPU and on its own data.
  if (&held != &config) {
    record.set("quant_backend", std::string("cpu"));
    record.set("calib_method",
               quant::summarize(held, bits_of(options_.context.compute)).calib_method);
  }
  witness.finish(options_.context, *resident.model, held, resident.residency, record);
}

// Other configs are resident only to save time: a run that lacks memory gets theirs before it
// fails. A failure leaves nothing behind that the next run would lack.
void Executor::run_with_room(const Run& run, record::RunRecord& record) {
  try {
    run_cell(run, record);
    return;
  } catch (const Error& error) {
    device::gpu_release_unused();
    if (error.kind() != ErrorKind::resource || !drop_others(run.config)) throw;
    options_.log(std::string(error.what()) + ": trying again without the other configs");
  }
  record = start_record(run);
  try {
    run_cell(run, record);
  } catch (const Error&) {
    device::gpu_release_unused();
    throw;
  }
}

Executor::Outcome Executor::execute(size_t index) {
  const Run& run = plan_.runs.at(index);
  Outcome outcome{"ok", {}, 0};
  record::RunRecord record = start_record(run);
  const eval::GpuWatch gpu(options_.context);
  const Stopwatch watch;
  const double loads_before = load_seconds_;
  const auto fail = [&](const std::string& reason) {
    // A failed run keeps its identity and its reason; half-filled samples are not data.
    record = start_record(run);
    outcome.status = "failed";
    outcome.error = reason;
  };
  try {
    run_with_room(run, record);
    const auto problem = record.attributes.find("certificate_problem");
    if (problem != record.attributes.end() && !std::get<std::string>(problem->second).empty()) {
      outcome.status = "unproven";
      outcome.error = std::get<std::string>(problem->second);
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    fail(error.what());
  } catch (const std::bad_alloc&) {
    fail("out of memory");
  } catch (const std::exception& error) {
    fail(error.what());
  }
  outcome.seconds = watch.seconds();
  outcome.load_seconds = load_seconds_ - loads_before;
  gpu.finish(record);
  record.set("status", outcome.status);
  record.set("error", outcome.error);
  record.set("end", utc_now_iso());
  record.set("seconds", outcome.seconds);
  record.set("load_seconds", outcome.load_seconds);
  write(run, record);
  return outcome;
}

// A run folder that was removed or unmounted is not made anew: a lone results/ would look like a
// sweep.
void Executor::write(const Run& run, const record::RunRecord& record) const {
  std::error_code code;
  if (!std::filesystem::is_regular_file(options_.folder / "manifests" / "plan.json", code)) {
    throw Error(ErrorKind::io, "the run folder " + options_.folder.string() + " has vanished",
                "its manifests/plan.json is not there any more",
                "mount or restore it, then start again with the same --run-tag");
  }
  record::write_record(options_.folder / run.path, record);
}

}  // namespace qsweep::sweep
