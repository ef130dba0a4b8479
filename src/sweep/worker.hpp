// One rank's loop: ask, run, tell.
#pragma once

#include <functional>

#include "sweep/executor.hpp"
#include "sweep/request.hpp"

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

// Makes the executor and works until there is no more. Whatever ends the loop early is told to the
// coordinator first, so that nobody waits for this rank, and then leaves as the exception it was.
void work(const Worker& worker, const std::function<void()>& check_stop, ExecutorOptions options);

}  // namespace qsweep::sweep
