// When the job ends: from --until, or from SLURM_JOB_END_TIME, or never. Some time before it is
// kept for dropping what runs and for the reducer.
#pragma once

#include <limits>
#include <string>

namespace qsweep::sweep {

class Deadline {
 public:
  Deadline() = default;  // never
  // `until`: 2026-01-31T12:00:00Z, +90m, +1h30m, +45s, or seconds since 1970; empty: the
  // environment's SLURM_JOB_END_TIME, if there is one. Throws Error{invalid_input}.
  static Deadline read(const std::string& until);
  // At this moment, in seconds since 1970.
  static Deadline at(double epoch, std::string source);

  bool any() const { return epoch_ < std::numeric_limits<double>::infinity(); }
  double epoch() const { return epoch_; }
  const std::string& source() const { return source_; }
  // Until runs must have ended; infinite without a deadline, negative after it.
  double seconds_left() const;
  // Whether runs that go on now would meet the end of the job.
  bool passed() const { return any() && seconds_left() <= 0; }

 private:
  double epoch_ = std::numeric_limits<double>::infinity();  // runs end before this
  std::string source_;
};

}  // namespace qsweep::sweep
