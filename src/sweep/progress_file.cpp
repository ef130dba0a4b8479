#include "sweep/progress_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr double interval_s = 5;
constexpr uint64_t max_bytes = 8 << 20;
constexpr size_t max_running = 4096;  // ranks told of, and shown at most 16 of them
constexpr size_t max_shown = 16;

fs::path file_of(const fs::path& folder) {
  return folder / "manifests" / "progress.json";
}

double now_epoch() {
  return static_cast<double>(std::time(nullptr));
}

}  // namespace

ProgressFile::ProgressFile(fs::path folder, const Plan& plan, size_t resumed)
    : file_(file_of(folder)), plan_(plan), resumed_(resumed) {}

void ProgressFile::update(const Progress& progress) {
  if (progress.seconds < next_ && progress.finished < progress.total) return;
  next_ = progress.seconds + interval_s;
  json running = json::array();
  for (const Running& one : progress.running) {
    if (running.size() == max_running) break;
    running.push_back({one.rank, plan_.runs[one.run].path, one.seconds});
  }
  const json state = {{"at", now_epoch()},
                      {"resumed", resumed_},
                      {"total", progress.total},
                      {"finished", progress.finished},
                      {"failed", progress.failed},
                      {"unproven", progress.unproven},
                      {"ranks", progress.ranks},
                      {"ranks_left", progress.ranks_left},
                      {"seconds", progress.seconds},
                      {"left", progress.left},
                      {"running", std::move(running)}};
  const fs::path temporary = file_.string() + std::string(temporary_suffix);
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out << state.dump() << "\n";
  out.close();
  std::error_code ignored;
  if (out) fs::rename(temporary, file_, ignored);
  if (!out || ignored) fs::remove(temporary, ignored);
}

std::string progress_text(const fs::path& folder) {
  const fs::path file = file_of(folder);
  std::error_code code;
  if (!fs::exists(file, code)) return {};
  try {
    const json state = json::parse(read_file(file, max_bytes));
    const double age = std::max(0.0, now_epoch() - state.at("at").get<double>());
    const auto ranks = state.at("ranks").get<int64_t>() - state.at("ranks_left").get<int64_t>();
    std::string text = fmt::format(
        "{} ago: {} of {} runs of this start done in {}, about {} left; {} ranks at work\n",
        human_seconds(age), state.at("finished").get<int64_t>(), state.at("total").get<int64_t>(),
        human_seconds(state.at("seconds")), human_seconds(state.at("left")), ranks);
    size_t shown = 0;
    for (const json& one : state.at("running")) {
      if (shown++ == max_shown) break;
      text += fmt::format("  rank {}: {} for {}\n", one.at(0).get<int64_t>(),
                          one.at(1).get<std::string>(), human_seconds(one.at(2)));
    }
    if (state.at("running").size() > max_shown)
      text += fmt::format("  ... and {} more ranks\n", state.at("running").size() - max_shown);
    return text;
  } catch (const json::exception& error) {
    throw_invalid(file.string() + ": no progress of a sweep", error.what(), "delete it");
  }
}

}  // namespace qsweep::sweep
