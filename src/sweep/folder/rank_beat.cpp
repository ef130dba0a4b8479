#include "sweep/folder/rank_beat.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "sweep/folder/lock_owner.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;
// A fixed size, written in one call: a reader never sees a mixture of two beats.
constexpr size_t beat_bytes = 512;
constexpr size_t max_host = 200;
constexpr size_t max_files = 1 << 14;  // looked at
constexpr double least_interval_s = 10, beats_per_second = 64;
constexpr double least_silence_s = 60, silent_beats = 4;
constexpr double longest_interval_s = 3600;

fs::path folder_of_beats(const fs::path& folder) {
  return folder / "manifests" / "ranks";
}

// "0003-2-of-16" -> "-2-of-16".
std::string part_of(const std::string& name) {
  const size_t at = name.find('-');
  return at == std::string::npos ? "" : name.substr(at);
}

std::string beat_text(const std::string& host, int64_t pid, double interval) {
  std::string text =
      nlohmann::json(
          {{"host", host}, {"pid", pid}, {"interval", interval}, {"at", epoch_seconds()}})
          .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  text.resize(beat_bytes - 1, ' ');
  return text + "\n";
}

// Opened anew each time: whoever removed it, or put a pipe or a link in its place, does no harm.
void write_beat(const fs::path& file, const std::string& text) {
  const int descriptor =
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (descriptor < 0) return;
  [[maybe_unused]] const ssize_t written = ::pwrite(descriptor, text.data(), text.size(), 0);
  ::close(descriptor);
}

bool read_beat(const fs::path& file, SeenRank& rank) {
  try {
    const auto json = nlohmann::json::parse(read_file(file, beat_bytes));
    rank.host = json.at("host").get<std::string>().substr(0, max_host);
    rank.pid = json.at("pid");
    rank.interval = std::clamp(json.at("interval").get<double>(), 0.0, longest_interval_s);
    rank.age = std::max(0.0, epoch_seconds() - json.at("at").get<double>());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

double RankBeat::interval_seconds(int ranks) {
  return std::max(least_interval_s, ranks / beats_per_second);
}

RankBeat::RankBeat(const fs::path& folder, const Part& part, int rank, int ranks)
    : file_(folder_of_beats(folder) / fmt::format("{:04d}{}", rank, part.suffix())) {
  std::error_code ignored;
  fs::create_directory(file_.parent_path(), ignored);
  const LockOwner self = this_process();
  const double interval = interval_seconds(ranks);
  thread_ = std::jthread([file = file_, self, interval](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    do {
      write_beat(file, beat_text(self.host, self.pid, interval));
      wake.wait_for(lock, stop, std::chrono::duration<double>(interval), [] { return false; });
    } while (!stop.stop_requested());
  });
}

RankBeat::~RankBeat() {
  thread_.request_stop();
  thread_.join();
  std::error_code ignored;
  fs::remove(file_, ignored);
}

bool SeenRank::silent() const {
  return age > std::max(least_silence_s, silent_beats * interval);
}

std::vector<SeenRank> seen_ranks(const fs::path& folder) {
  std::vector<SeenRank> seen;
  std::error_code code;
  size_t files = 0;
  for (fs::directory_iterator it(folder_of_beats(folder), code), end; !code && it != end;
       it.increment(code)) {
    if (++files > max_files) break;
    const std::string name = it->path().filename().string();
    SeenRank rank;
    rank.part = part_of(name);
    const std::string number = name.substr(0, name.size() - rank.part.size());
    if (number.empty() || number.size() > 9 ||
        number.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    rank.rank = std::stoll(number);
    if (read_beat(it->path(), rank)) seen.push_back(std::move(rank));
  }
  std::sort(seen.begin(), seen.end(), [](const SeenRank& a, const SeenRank& b) {
    return std::tie(a.part, a.rank) < std::tie(b.part, b.rank);
  });
  return seen;
}

void clear_rank_beats(const fs::path& folder, const Part& part) {
  std::error_code code;
  for (fs::directory_iterator it(folder_of_beats(folder), code), end; !code && it != end;
       it.increment(code)) {
    std::error_code ignored;
    if (supersedes(part, part_of(it->path().filename().string()))) fs::remove(it->path(), ignored);
  }
}

}  // namespace qsweep::sweep
