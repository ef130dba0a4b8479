// qsweep doctor: what this machine has, what is missing, what to do about it.
#include <fmt/format.h>
#include <filesystem>
#include <iostream>

#include "app/commands.hpp"
#include "app/doctor.hpp"
#include "app/machine.hpp"
#include "app/options.hpp"
#include "base/text_table.hpp"
#include "comm/communicator.hpp"
#include "device/gpu.hpp"
#include "eval/workload.hpp"
#include "record/hdf5.hpp"
#include "record/provenance.hpp"
#include "stage/http.hpp"
#include "stage/hub_cache.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

Finding check_gpu() {
  std::error_code ignored;
  const bool driver = fs::exists("/proc/driver/nvidia/version", ignored);
  if (device::gpu_count() > 0) {
    return {Level::ok, plural(static_cast<size_t>(device::gpu_count()), "GPU") + " to run on", ""};
  }
  if (!driver) return {Level::ok, "no NVIDIA driver: runs use the CPU", ""};
  return {Level::warn, "there is an NVIDIA driver, but " + device::gpu_problem(),
          "runs use the CPU"};
}

Finding check_speed(const device::Context& context) {
  const eval::Ceilings ceilings = eval::measure_ceilings(context, 1u << 28);
  return {Level::ok,
          fmt::format("{} thread(s): read {:.1f} GB/s, matrix product {:.0f} GFLOP/s (fp32)",
                      context.threads, ceilings.bytes_per_s * 1e-9, ceilings.flops_per_s * 1e-9),
          ""};
}

Finding check_hub() {
  const std::vector<fs::path> caches = stage::hub_folders();
  std::error_code ignored;
  for (const fs::path& cache : caches) {
    if (fs::is_directory(cache, ignored)) return {Level::ok, "hub cache " + cache.string(), ""};
  }
  const std::string where = caches.empty() ? "" : " at " + caches.front().string();
  return {Level::ok, "no hub cache yet" + where,
          stage::can_stage()
              ? "qsweep STUDY --prep-only fetches what a study names by hub id"
              : "this build cannot fetch (no libcurl, libarchive) so put models there"};
}

// One line each, then the verdict; returns the exit code.
int print(const Findings& findings) {
  size_t warnings = 0, failures = 0;
  for (const Finding& finding : findings) {
    const bool warns = finding.level == Level::warn, fails = finding.level == Level::fail;
    warnings += warns ? 1 : 0;
    failures += fails ? 1 : 0;
    std::cout << (fails   ? "FAIL "
                  : warns ? "WARN "
                          : "ok   ")
              << finding.what << (finding.advice.empty() ? "" : " -> " + finding.advice) << "\n";
  }
  std::cout << "verdict: ";
  if (warnings + failures == 0) {
    std::cout << "ready\n";
  } else {
    std::cout << (failures > 0 ? "not ready, " : "usable, ") << plural(failures, "failure")
              << " and " << plural(warnings, "warning") << "\n";
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

int doctor_command(const Arguments& arguments) {
  std::string out = "data/runs";
  po::options_description options(
      "qsweep doctor: what this machine has, what is missing, what to do. Under srun or mpirun it\n"
      "looks at all ranks and at what lies between them");
  options.add_options()("out", po::value(&out)->default_value(out), "parent of run folders");
  if (!parse_options(arguments, options)) return 0;
  const comm::Communicator communicator;
  const bool speaks = communicator.rank() == 0;
  if (speaks) {
    std::cout << version_text() << ", HDF5 " << record::hdf5::library_version() << "\n"
              << fmt::format("{:.1f} GB of memory\n",
                             static_cast<double>(physical_memory_bytes()) * 1e-9);
  }
  Findings findings;
  if (speaks) findings = {check_launch(communicator), check_gpu()};
  const std::vector<RankPlace> places = gather_places(communicator);
  const Findings folder = check_results_folder(communicator, out);
  if (speaks) {
    for (const Findings& more : {judge_ranks(places), folder})
      findings.insert(findings.end(), more.begin(), more.end());
    const auto context = make_context({}, threads_of_rank(communicator.local_size()));
    findings.push_back(check_speed(context));
    findings.push_back(check_time_left());
    findings.push_back(check_hub());
    if (communicator.size() > 1) std::cout << "\n" << places_text(places) << "\n";
  }
  const int code = speaks ? print(findings) : 0;
  return std::stoi(communicator.broadcast(std::to_string(code), 0));
}

}  // namespace qsweep::app
