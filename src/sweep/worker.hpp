// One rank's loop: ask, run, tell.
#pragma once

#include <functional>

#include "sweep/executor.hpp"
#include "sweep/share/request.hpp"

namespace spdlog {
class logger;
}

namespace qsweep::sweep {

struct Worker {
  const Plan& plan;
  WorkSource ask;
  spdlog::logger& log;
  bool leads = false;  // rank 0: told to stop, it stops all
};

// Works until there is no more. Whatever ends the loop early is told to the coordinator first, so
// that nobody waits for this rank, and then leaves as the exception it was.
void work(const Worker& worker, const std::function<void()>& check_stop, Executor& executor);

}  // namespace qsweep::sweep
