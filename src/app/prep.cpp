#include "app/prep.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "app/terminal.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text_table.hpp"
#include "sweep/plan/needs.hpp"
#include "sweep/plan/text_tokens.hpp"
#include "sweep/sweep.hpp"

namespace qsweep::app {
namespace {

constexpr int bar_width = 30;
constexpr double redraw_seconds = 0.2, log_seconds = 30;

double rate_of(uint64_t bytes, double seconds) {
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

std::string progress_line(const stage::StageProgress& progress) {
  const double rate = rate_of(progress.bytes, progress.seconds);
  std::string line = fmt::format("{}/{} downloads, {}", progress.items, progress.items_total,
                                 human_bytes(progress.bytes));
  if (progress.bytes_total > 0) line += " of " + human_bytes(progress.bytes_total);
  line += fmt::format(", {}/s", human_bytes(static_cast<uint64_t>(rate)));
  if (rate > 0 && progress.bytes < progress.bytes_total && progress.seconds > 1) {
    const auto left = static_cast<double>(progress.bytes_total - progress.bytes);
    line += ", about " + human_seconds(left / rate) + " left";
  }
  return line;
}

// On a terminal one line that is drawn over itself, in a log a line now and then.
class View {
 public:
  explicit View(int stream) : stream_(stream) {}
  void draw(const stage::StageProgress& progress) {
    if (progress.items_total == 0 || (!progress.done && progress.seconds < next_)) return;
    next_ = progress.seconds + (stream_ < 0 ? log_seconds : redraw_seconds);
    if (stream_ < 0) {
      // The first one would say nothing, the last one is said by the summary.
      if (progress.seconds > redraw_seconds && !progress.done)
        std::cerr << progress_line(progress) << std::endl;
      return;
    }
    const double share = progress.bytes_total == 0 ? 0
                                                   : static_cast<double>(progress.bytes) /
                                                         static_cast<double>(progress.bytes_total);
    const auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * bar_width);
    const std::string line = "[" + std::string(filled, '=') + std::string(bar_width - filled, ' ') +
                             "] " + progress_line(progress);
    std::cerr << "\r\033[K" << line.substr(0, columns(stream_) - 1) << (progress.done ? "\n" : "")
              << std::flush;
  }
  void tell(const std::string& notice) const {
    std::cerr << (stream_ < 0 ? "" : "\r\033[K") << notice << std::endl;
  }

 private:
  int stream_;
  double next_ = 0;
};

std::string outlook_text(const stage::Outlook& outlook) {
  TextTable table("lrrl");
  size_t here = 0;
  bool unknown = false;
  for (const auto& item : outlook.items) {
    here += item.here ? 1 : 0;
    unknown = unknown || !item.size_known;
    const std::string size = item.size_known ? human_bytes(item.bytes) : "? B";
    table.add({"  " + item.what, item.here ? "here" : plural(item.files, "file"),
               item.here ? "" : size, item.where});
  }
  std::string text = "needed: " + plural(outlook.items.size(), "item") + ", " +
                     std::to_string(here) + " here\n" + table.text();
  if (here == outlook.items.size()) return text + "nothing to download\n";
  text += "to download: " + human_bytes(outlook.bytes) +
          (unknown ? " and what the servers do not tell" : "");
  for (const auto& space : outlook.spaces) {
    if (space.free == UINT64_MAX) continue;
    text += "; " + human_bytes(space.free) + " free in " + space.folder.string();
  }
  return text + "\n";
}

void check_stop() {
  if (!sweep::stop_requested()) return;
  throw Error(ErrorKind::interrupted, "interrupted while staging", "a signal asked to end",
              "the same command goes on where this one ended");
}

// As a shell reads it back: plain words as they are, others in single quotes.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  });
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

void stage_inputs(const sweep::Study& study) {
  const sweep::StudyNeeds all = sweep::needs_of(study);
  const auto view = std::make_shared<View>(terminal());
  for (const std::string& notice : all.notices) view->tell("note: " + notice);
  if (all.needs.models.empty() && all.needs.datasets.empty()) return;
  stage::StagingOptions options;
  options.http = stage::http_settings_of_environment();
  options.http.check_stop = check_stop;
  options.tell = [view](const std::string& notice) { view->tell(notice); };
  options.progress = [view](const stage::StageProgress& progress) { view->draw(progress); };
  stage::Staging staging(all.needs, options);
  const stage::Outlook outlook = staging.look();
  for (const std::string& notice : outlook.notices) view->tell("note: " + notice);
  std::cout << outlook_text(outlook) << std::flush;
  const stage::StagingCost cost = staging.fetch();
  if (cost.items == 0) return;
  std::cout << "downloaded: " << human_bytes(cost.bytes) << " in " << human_seconds(cost.seconds)
            << " (" << human_bytes(static_cast<uint64_t>(rate_of(cost.bytes, cost.seconds)))
            << "/s)\n"
            << std::flush;
}

void prepare_tokens(const sweep::Plan& plan) {
  try {
    const sweep::TokenReport report = sweep::stage_tokens(plan);
    if (report.made == 0) return;
    std::cout << "tokenized: " << plural(report.made, "text") << ", " << report.tokens
              << " tokens, in " << human_seconds(report.seconds) << "\n";
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::io) throw;
    std::cerr << "note: the tokens are not kept, each rank will make them: " << error.what()
              << "\n";
  }
}

void with_prep_advice(const sweep::Study& study, const std::string& prep_command,
                      const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid_input || prep_command.empty()) throw;
    std::vector<std::string> missing;
    try {
      missing = sweep::unstaged(sweep::needs_of(study));
    } catch (const Error&) {
      throw error;  // the first fault is the one to mend first
    }
    if (missing.empty()) throw;
    std::string text = std::string(error.what()) + "\nnot staged: ";
    for (size_t i = 0; i < missing.size(); ++i) text += (i == 0 ? "" : ", ") + missing[i];
    throw Error(error.kind(),
                text + "\nwhere there is internet, on a login node, run: " + prep_command);
  }
}

std::string prep_command(const std::string& program, const std::vector<std::string>& arguments) {
  std::string text = quoted(program);
  for (const std::string& argument : arguments) text += " " + quoted(argument);
  return text + " --prep-only";
}

}  // namespace qsweep::app
