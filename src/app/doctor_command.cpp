// qsweep doctor: what this machine has, what is missing, what to do about it.
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "comm/communicator.hpp"
#include "device/gpu.hpp"
#include "eval/workload.hpp"
#include "record/hdf5.hpp"
#include "record/provenance.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct Finding {
  bool good;
  std::string what, advice;
};

Finding check_mpi() {
#ifdef QSWEEP_HAVE_MPI
  const std::string built = "MPI is built in";
  if (!comm::launched_by_mpi())
    return {true, built + "; this process was started without a launcher: one rank", ""};
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  return {true, built + "; the launcher started " + (size != nullptr ? size : "?") + " rank(s)",
          ""};
#else
  return {true, "built without MPI: one rank", "install an MPI and build again to use several"};
#endif
}

Finding check_gpu() {
  std::error_code ignored;
  const bool driver = fs::exists("/proc/driver/nvidia/version", ignored);
  if (device::gpu_count() > 0) {
    return {true, fmt::format("{} GPU(s) to run on", device::gpu_count()), ""};
  }
  if (!driver) return {true, "no NVIDIA driver: runs use the CPU", ""};
  return {false, "there is an NVIDIA driver, but " + device::gpu_problem(), "runs use the CPU"};
}

// A record is written whole or not at all only if rename and fsync work where runs are kept.
Finding check_folder(const fs::path& out) {
  const fs::path probe = out / ".qsweep-doctor";
  try {
    write_file_atomic(probe, "probe");
    const bool same = read_file(probe, 16) == "probe";
    std::error_code ignored;
    fs::remove(probe, ignored);
    struct statvfs space {};
    const bool known = statvfs(out.c_str(), &space) == 0;
    const double free_gb =
        known ? static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) / 1e9 : 0;
    if (!same)
      return {false, out.string() + " does not give back what was written", "choose another --out"};
    return {free_gb > 1,
            fmt::format("{}: sync and rename work, {:.1f} GB free", out.string(), free_gb),
            free_gb > 1 ? "" : "free some space or choose another --out"};
  } catch (const Error& error) {
    return {false, error.what(), "choose another --out"};
  }
}

Finding check_speed(const device::Context& context) {
  const eval::Ceilings ceilings = eval::measure_ceilings(context, 1u << 28);
  return {true,
          fmt::format("{} thread(s): read {:.1f} GB/s, matrix product {:.0f} GFLOP/s (fp32)",
                      context.threads, ceilings.bytes_per_s * 1e-9, ceilings.flops_per_s * 1e-9),
          ""};
}

Finding check_hub() {
  const char* home = std::getenv("HF_HOME");
  const char* user = std::getenv("HOME");
  const fs::path cache = home != nullptr
                             ? fs::path(home)
                             : fs::path(user != nullptr ? user : "/") / ".cache/huggingface";
  std::error_code ignored;
  const bool there = fs::is_directory(cache / "hub", ignored);
  return {true, "Hugging Face cache " + cache.string() + (there ? "" : " (not there)"),
          there ? "" : "models named by hub id must be put there first"};
}

}  // namespace

int doctor_command(const Arguments& arguments) {
  std::string out = "data/runs";
  po::options_description options(
      "qsweep doctor: what this machine has, what is missing, what to do");
  options.add_options()("out", po::value(&out)->default_value(out), "parent of run folders");
  if (!parse_options(arguments, options)) return 0;
  std::cout << version_text() << ", HDF5 " << record::hdf5::library_version() << "\n"
            << fmt::format("{:.1f} GB of memory\n",
                           static_cast<double>(physical_memory_bytes()) * 1e-9);
  const auto context = make_context({}, threads_of_rank(1));
  bool good = true;
  for (const Finding& finding :
       {check_mpi(), check_gpu(), check_speed(context), check_folder(out), check_hub()}) {
    std::cout << (finding.good ? "ok   " : "WARN ") << finding.what
              << (finding.advice.empty() ? "" : " -> " + finding.advice) << "\n";
    good = good && finding.good;
  }
  return good ? 0 : 1;
}

}  // namespace qsweep::app
