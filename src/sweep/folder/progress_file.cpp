#include "sweep/folder/progress_file.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr double interval_s = 5;
constexpr uint64_t max_bytes = 8 << 20;
constexpr size_t max_running = 4096;  // ranks told of
constexpr size_t max_files = 1 << 14;
constexpr std::string_view name_begin = "progress", name_end = ".json";

// Progress files of the folder with what stands between "progress" and ".json".
std::vector<std::pair<std::string, fs::path>> progress_files(const fs::path& folder) {
  std::vector<std::pair<std::string, fs::path>> found;
  std::error_code code;
  for (fs::directory_iterator it(folder / "manifests", code), end; !code && it != end;
       it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(name_begin) || !name.ends_with(name_end)) continue;
    found.emplace_back(
        name.substr(name_begin.size(), name.size() - name_begin.size() - name_end.size()),
        it->path());
    if (found.size() == max_files) break;
  }
  std::sort(found.begin(), found.end());
  return found;
}

SeenProgress read_progress(const std::string& part, const fs::path& file) {
  const json state = json::parse(read_file(file, max_bytes));
  SeenProgress seen;
  seen.part = part;
  seen.age = std::max(0.0, epoch_seconds() - state.at("at").get<double>());
  seen.total = state.at("total");
  seen.finished = state.at("finished");
  seen.ranks = state.at("ranks");
  seen.seconds = state.at("seconds");
  const json& left = state.at("left");  // nothing is known of it before the first run's end
  seen.left = left.is_null() ? NAN : left.get<double>();
  for (const json& one : state.at("running"))
    seen.running.push_back({one.at(0), one.at(1), one.at(2)});
  return seen;
}

}  // namespace

ProgressFile::ProgressFile(const fs::path& folder, const Plan& plan, const Part& part,
                           size_t resumed)
    : file_(folder / "manifests" /
            (std::string(name_begin) + part.suffix() + std::string(name_end))),
      plan_(plan),
      resumed_(resumed) {}

void ProgressFile::update(const Progress& progress) {
  if (progress.seconds < next_ && progress.finished < progress.total) return;
  next_ = progress.seconds + interval_s;
  json running = json::array();
  for (const Running& one : progress.running) {
    if (running.size() == max_running) break;
    running.push_back({one.rank, plan_.runs[one.run].path, one.seconds});
  }
  const json state = {{"at", epoch_seconds()},        {"resumed", resumed_},
                      {"total", progress.total},      {"finished", progress.finished},
                      {"failed", progress.failed},    {"unproven", progress.unproven},
                      {"ranks", progress.ranks},      {"ranks_left", progress.ranks_left},
                      {"seconds", progress.seconds},  {"left", progress.left},
                      {"running", std::move(running)}};
  const fs::path temporary = file_.string() + std::string(temporary_suffix);
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out << state.dump() << "\n";
  out.close();
  std::error_code ignored;
  if (out) fs::rename(temporary, file_, ignored);
  if (!out || ignored) fs::remove(temporary, ignored);
}

std::vector<SeenProgress> seen_progress(const fs::path& folder) {
  std::vector<SeenProgress> seen;
  for (const auto& [part, file] : progress_files(folder)) {
    try {
      seen.push_back(read_progress(part, file));
    } catch (const json::exception& error) {
      throw_invalid(file.string() + ": no progress of a sweep", error.what(), "delete it");
    }
  }
  return seen;
}

void clear_progress(const fs::path& folder, const Part& part) {
  for (const auto& [suffix, file] : progress_files(folder)) {
    std::error_code ignored;
    if (supersedes(part, suffix)) fs::remove(file, ignored);
  }
}

}  // namespace qsweep::sweep
