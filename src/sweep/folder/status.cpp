#include "sweep/folder/status.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text_table.hpp"
#include "sweep/folder/progress_file.hpp"
#include "sweep/folder/rank_beat.hpp"

namespace qsweep::sweep {
namespace {

constexpr size_t max_shown = 16;  // parts, and ranks of each

// Of the whole plan or of one part.
struct Seen {
  std::optional<SeenProgress> progress;
  std::vector<SeenRank> ranks;
};

std::string more(size_t count, const std::string& what) {
  if (count <= max_shown) return "";
  return fmt::format("  ... and {} more {}\n", count - max_shown, what);
}

std::string running_text(const SeenProgress& progress) {
  std::string text;
  const auto& running = progress.running;
  for (size_t i = 0; i < std::min(running.size(), max_shown); ++i) {
    text += fmt::format("  rank {}: {} for {}\n", running[i].rank, tamed(running[i].run),
                        human_seconds(running[i].seconds));
  }
  return text + more(running.size(), "ranks");
}

std::string silent_text(const std::vector<SeenRank>& silent) {
  std::string text;
  for (size_t i = 0; i < std::min(silent.size(), max_shown); ++i) {
    text += fmt::format("  rank {} (process {} on {}): no sign of life for {}\n", silent[i].rank,
                        silent[i].pid, tamed(silent[i].host), human_seconds(silent[i].age));
  }
  return text + more(silent.size(), "silent ranks");
}

std::string progress_line(const SeenProgress& progress) {
  std::string text =
      fmt::format("{} ago: {} of {} runs of this start done in {}", human_seconds(progress.age),
                  progress.finished, progress.total, human_seconds(progress.seconds));
  if (progress.finished < progress.total)
    text += fmt::format(", about {} left", human_seconds(progress.left));
  return text;
}

enum class State { trouble, at_work, done };  // most urgent first

struct Told {
  State state;
  std::string text;
};

std::string alive_text(const Seen& seen, size_t alive) {
  const int64_t started = seen.progress ? seen.progress->ranks : 0;
  const size_t ranks =
      std::max(seen.ranks.size(), static_cast<size_t>(std::max<int64_t>(0, started)));
  return fmt::format("; {} of {} alive", alive, plural(ranks, "rank"));
}

Told tell(const Seen& seen) {
  std::vector<SeenRank> silent;
  std::copy_if(seen.ranks.begin(), seen.ranks.end(), std::back_inserter(silent),
               [](const SeenRank& rank) { return rank.silent(); });
  const size_t alive = seen.ranks.size() - silent.size();
  const bool done = seen.progress && seen.progress->finished >= seen.progress->total;
  std::string text = seen.progress ? progress_line(*seen.progress) : "about to begin";
  if (alive > 0 || !done) text += alive_text(seen, alive);
  text += "\n";
  if (done) return {State::done, text};
  if (alive > 0) {
    if (seen.progress) text += running_text(*seen.progress);
    return {silent.empty() ? State::at_work : State::trouble, text + silent_text(silent)};
  }
  text += silent.empty() ? "  its ranks have left; start it again to go on\n"
                         : "  it was killed, or its nodes are lost; start it again to go on\n";
  return {State::trouble, text + silent_text(silent)};
}

// All parts, or of many those that need somebody, then those at work.
std::string parts_text(std::vector<Told> parts) {
  std::string text;
  if (parts.size() > max_shown) {
    const auto count = [&](State state) {
      return std::count_if(parts.begin(), parts.end(),
                           [&](const Told& part) { return part.state == state; });
    };
    text = fmt::format("{} parts: {} done, {} at work, {} in trouble\n", parts.size(),
                       count(State::done), count(State::at_work), count(State::trouble));
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Told& a, const Told& b) { return a.state < b.state; });
  }
  for (size_t i = 0; i < std::min(parts.size(), max_shown); ++i) text += parts[i].text;
  return text + more(parts.size(), "parts");
}

// "-3-of-16" -> 3.
int64_t number_of(const std::string& part) {
  return part.empty() ? 0 : std::strtoll(part.c_str() + 1, nullptr, 10);
}

}  // namespace

std::string status_text(const std::filesystem::path& folder) {
  std::map<std::pair<int64_t, std::string>, Seen> parts;
  for (SeenProgress& progress : seen_progress(folder))
    parts[{number_of(progress.part), progress.part}].progress = std::move(progress);
  for (SeenRank& rank : seen_ranks(folder))
    parts[{number_of(rank.part), rank.part}].ranks.push_back(std::move(rank));
  std::vector<Told> told;
  for (const auto& [key, seen] : parts) {
    told.push_back(tell(seen));
    const std::string& part = key.second;
    if (!part.empty()) told.back().text.insert(0, fmt::format("part {}, ", tamed(part.substr(1))));
  }
  return parts_text(std::move(told));
}

}  // namespace qsweep::sweep
