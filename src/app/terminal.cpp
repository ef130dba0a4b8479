#include "app/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "comm/communicator.hpp"

namespace qsweep::app {
namespace {

constexpr size_t usual_columns = 80;

}  // namespace

int terminal() {
  if (isatty(STDERR_FILENO) != 0) return STDERR_FILENO;
  if (!comm::launched_by_mpi()) return -1;
  const std::string parent = "/proc/" + std::to_string(getppid()) + "/fd/2";
  const int stream = open(parent.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (stream < 0 || isatty(stream) != 0) return stream;
  close(stream);
  return -1;
}

size_t columns(int terminal) {
  winsize size{};
  const bool known = ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : usual_columns;
}

}  // namespace qsweep::app
