#include "sweep/folder/look.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t max_log_bytes = 256 << 20;
constexpr size_t id_digits = 16;

// A line of worker.cpp: "<time> info end <id> <status> after ...".
void read_line(std::string_view line, std::map<std::string, std::string>& ends) {
  constexpr std::string_view mark = " info end ";
  const size_t at = line.find(mark);
  if (at == std::string_view::npos || line.size() < at + mark.size() + id_digits + 2) return;
  const std::string_view id = line.substr(at + mark.size(), id_digits);
  const std::string_view rest = line.substr(at + mark.size() + id_digits);
  if (rest.front() != ' ') return;
  const std::string_view status = rest.substr(1, rest.find(' ', 1) - 1);
  for (const std::string_view known : {"ok", "failed", "unproven"}) {
    if (status == known) ends[std::string(id)] = status;
  }
}

void read_log(const fs::path& file, std::map<std::string, std::string>& ends) {
  std::string text;
  try {
    text = read_file(file, max_log_bytes);
  } catch (const Error&) {
    return;
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    read_line(std::string_view(text).substr(at, end - at), ends);
    at = end + 1;
  }
}

}  // namespace

std::set<std::string> present_records(const fs::path& folder) {
  std::set<std::string> found;
  std::error_code code;
  for (fs::recursive_directory_iterator it(folder / "results", code), end; !code && it != end;
       it.increment(code)) {
    if (it->path().extension() == ".h5")
      found.insert(it->path().lexically_relative(folder).string());
  }
  return found;
}

std::map<std::string, std::string> logged_ends(const fs::path& folder) {
  std::map<std::string, std::string> ends;
  std::vector<fs::path> logs;
  std::error_code code;
  for (fs::directory_iterator it(folder / "logs", code), end; !code && it != end;
       it.increment(code)) {
    if (it->path().filename().string().starts_with("rank-")) logs.push_back(it->path());
  }
  for (const fs::path& log : logs) read_log(log, ends);
  return ends;
}

}  // namespace qsweep::sweep
