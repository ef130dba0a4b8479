#include "app/orphan_guard.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace qsweep::app {
namespace {

// Shorter than the next start waits for the owner of the run folder to be gone.
constexpr auto interval = std::chrono::milliseconds(250);

}  // namespace

OrphanGuard::OrphanGuard() {
  if (!comm::launched_by_mpi()) return;
  thread_ = std::thread([this, parent = ::getppid()] {
    while (!done_) {
      if (::getppid() != parent) std::_Exit(exit_code(ErrorKind::interrupted));
      std::this_thread::sleep_for(interval);
    }
  });
}

OrphanGuard::~OrphanGuard() {
  done_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace qsweep::app
