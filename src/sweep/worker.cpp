#include "sweep/worker.hpp"

#include <spdlog/spdlog.h>

#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

// What the others should do when this rank leaves for `error`. A file system that refuses refuses
// all of them, and a signal to rank 0 is meant for the sweep; a rank that cannot work (no memory,
// no GPU) goes alone.
void say_why(const Worker& worker, const std::exception_ptr& error, Request& request) {
  request.leaving = true;
  try {
    std::rethrow_exception(error);
  } catch (const Error& fault) {
    const bool interrupted = fault.kind() == ErrorKind::interrupted;
    request.error = interrupted ? "" : fault.what();
    request.stop_all = interrupted ? worker.leads : fault.kind() == ErrorKind::io;
  } catch (const std::exception& fault) {
    request.error = fault.what();
  }
}

}  // namespace

void work(const Worker& worker, const std::function<void()>& check_stop, Executor& executor) {
  Request request;
  Stopwatch watch;
  try {
    for (;;) {
      check_stop();
      request.resident = executor.resident();
      const std::optional<size_t> index = worker.ask(request);
      if (!index) return;
      const Run& run = worker.plan.runs[*index];
      watch.restart();
      request = Request{};
      request.finished = *index;
      request.status = "dropped";  // until it is done
      worker.log.info("start {} {}", run.id, run.path);
      const Executor::Outcome outcome = executor.execute(*index);
      request.status = outcome.status;
      request.error = outcome.error;
      request.load_seconds = outcome.load_seconds;
      request.seconds = watch.seconds();
      worker.log.info("end {} {} after {:.3f} s {}", run.id, outcome.status, outcome.seconds,
                      outcome.error);
    }
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    if (request.status == "dropped") request.seconds = watch.seconds();
    say_why(worker, failure, request);
    worker.ask(request);
    std::rethrow_exception(failure);
  }
}

}  // namespace qsweep::sweep
