#include "app/progress.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <iostream>
#include <memory>

#include "app/terminal.hpp"
#include "base/clock.hpp"

namespace qsweep::app {
namespace {

constexpr int bar_width = 30;
constexpr size_t max_ranks_shown = 8;
constexpr double redraw_seconds = 0.1;
// A line in a log every tenth of the runs, and after this long without one.
constexpr double log_share = 0.1, log_seconds = 600;

double share_of(const sweep::Progress& progress) {
  return progress.total == 0
             ? 1
             : static_cast<double>(progress.finished) / static_cast<double>(progress.total);
}

std::string status_line(const sweep::Progress& progress) {
  std::string line = fmt::format("{}/{} runs", progress.finished, progress.total);
  if (progress.failed > 0) line += fmt::format(", {} failed", progress.failed);
  if (progress.unproven > 0) line += fmt::format(", {} unproven", progress.unproven);
  line += ", " + human_seconds(progress.seconds);
  if (progress.finished < progress.total)
    line += ", about " + human_seconds(progress.left) + " left";
  if (progress.ranks_left > 0) line += fmt::format(", {} ranks have left", progress.ranks_left);
  return line;
}

// Those that run longest first: the one that seems to hang is what a person looks for.
std::vector<sweep::Running> longest_first(const sweep::Progress& progress) {
  std::vector<sweep::Running> running = progress.running;
  std::stable_sort(running.begin(), running.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return running;
}

std::string running_line(const sweep::Plan& plan, const sweep::Running& one) {
  const sweep::Run& run = plan.runs[one.run];
  const eval::Cell& cell = plan.cells[run.cell];
  return fmt::format("rank {:<4} {} {} {} r{}, {}", one.rank, plan.study.configs[run.config].name,
                     cell.workload, cell.lengths, run.repeat, human_seconds(one.seconds));
}

// A block of lines that is drawn over itself.
class TerminalView {
 public:
  TerminalView(const sweep::Plan& plan, int stream) : plan_(plan), stream_(stream) {}
  void draw(const sweep::Progress& progress) {
    if (progress.seconds < next_ && progress.finished < progress.total) return;
    next_ = progress.seconds + redraw_seconds;
    erase();
    const int filled = static_cast<int>(share_of(progress) * bar_width);
    add("[" + std::string(static_cast<size_t>(filled), '=') +
        std::string(static_cast<size_t>(bar_width - filled), ' ') + "] " + status_line(progress));
    const auto running = longest_first(progress);
    for (size_t i = 0; i < std::min(max_ranks_shown, running.size()); ++i)
      add("  " + running_line(plan_, running[i]));
    if (running.size() > max_ranks_shown)
      add(fmt::format("  ... and {} more ranks", running.size() - max_ranks_shown));
    std::cerr << std::flush;
  }
  // So that other lines may stand where the block stood.
  void erase() {
    if (lines_ > 0) std::cerr << "\033[" << lines_ << "A\r\033[J";
    lines_ = 0;
  }

 private:
  void add(const std::string& line) {
    std::cerr << line.substr(0, columns(stream_) - 1) << "\n";
    ++lines_;
  }
  const sweep::Plan& plan_;
  int stream_;
  double next_ = 0;
  size_t lines_ = 0;
};

class LogView {
 public:
  explicit LogView(const sweep::Plan& plan) : plan_(plan) {}
  void draw(const sweep::Progress& progress) {
    const bool done = progress.finished == progress.total;
    const bool due = share_of(progress) >= next_share_ || progress.seconds >= next_seconds_;
    if (done_ || (!due && !done)) return;
    done_ = done;
    next_share_ = share_of(progress) + log_share;
    next_seconds_ = progress.seconds + log_seconds;
    std::string line = status_line(progress);
    const auto running = longest_first(progress);
    if (!running.empty()) line += "; longest at work: " + running_line(plan_, running.front());
    std::cerr << line << std::endl;
  }

 private:
  const sweep::Plan& plan_;
  double next_share_ = log_share, next_seconds_ = log_seconds;
  bool done_ = false;
};

}  // namespace

sweep::ProgressSink make_progress(const sweep::Plan& plan) {
  const int stream = terminal();
  const auto view = stream < 0 ? nullptr : std::make_shared<TerminalView>(plan, stream);
  const auto log = std::make_shared<LogView>(plan);
  return [&plan, view, log](const sweep::Progress& progress, const sweep::RunEnd* end) {
    if (end != nullptr && (end->status == "failed" || end->status == "unproven")) {
      if (view) view->erase();
      std::cerr << end->status << ": " << plan.runs[end->run].path << " on rank " << end->rank
                << ": " << end->error << "\n";
    }
    if (view) {
      view->draw(progress);
    } else {
      log->draw(progress);
    }
  };
}

}  // namespace qsweep::app
