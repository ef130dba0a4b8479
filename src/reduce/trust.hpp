// Which records the reducer accepts. A record counts if it is the run that the plan names, ended
// ok, and carries a certificate that holds when it is computed anew; the synthetic workload uses no
// model and needs none. All runs of a config must have packed the same bytes into every tensor.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/names.hpp"
#include "record/record.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::reduce {

enum class RunStatus { ok, failed, unproven, unreadable, missing };

struct Trust {
  RunStatus status = RunStatus::ok;
  std::string reason;  // empty if ok
};

// Judges one record alone.
Trust judge_record(const record::RunRecord& record, const sweep::PlanManifest::Entry& entry);

// Collects what the accepted runs of every config packed and calibrated, then names those that
// disagree: with the strict majority of their config, or, where there is none, all of them.
class PackedAgreement {
 public:
  void add(const std::string& config, size_t run, const record::RunRecord& record);
  std::vector<std::pair<size_t, std::string>> disagreements() const;  // run, reason; by run

 private:
  struct Held {
    std::string hash_packed;
    std::string absmax;  // of a static scale of inputs, all its bits; else empty
    bool operator==(const Held&) const = default;
  };
  using Hashes = std::map<std::string, Held>;  // by tensor
  struct Variant {
    Hashes hashes;
    std::vector<size_t> runs;
  };
  std::map<std::string, std::map<std::string, Variant>> configs_;  // config -> digest of hashes
};

// How many claims, from the first, the stored hash covers: all, or those that stood there when it
// was stored, or none.
size_t registered_claims(const sweep::PlanManifest& plan);

}  // namespace qsweep::reduce

template <>
inline constexpr auto qsweep::enum_names<qsweep::reduce::RunStatus> =
    std::to_array<qsweep::NamePair<qsweep::reduce::RunStatus>>(
        {{qsweep::reduce::RunStatus::ok, "ok"},
         {qsweep::reduce::RunStatus::failed, "failed"},
         {qsweep::reduce::RunStatus::unproven, "unproven"},
         {qsweep::reduce::RunStatus::unreadable, "unreadable"},
         {qsweep::reduce::RunStatus::missing, "missing"}});
