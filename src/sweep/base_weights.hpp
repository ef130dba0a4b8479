// How the baseline's weights get to the GPUs of a node: each rank reads them, or one rank reads and
// its GPU hands them to the others.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "base/names.hpp"
#include "comm/communicator.hpp"
#include "sweep/executor.hpp"

namespace qsweep::sweep {

// automatic: broadcast where a node's ranks have a GPU each and NCCL is there, else each.
enum class LoadMode { automatic, broadcast, each };

// Whether any run that is left needs a model.
bool needs_weights(const Plan& plan, const std::set<size_t>& finished);

// Collective, before the first run; the only use of NCCL. Makes the baseline resident on every rank
// where its weights are to be broadcast; else does nothing, and each rank reads them when its first
// run asks. Vectors (norms, biases) and what is quantized or packed in the baseline itself are read
// by each rank. Any rank's failure is thrown by all. `log` gets bytes and rates. Throws
// Error{invalid_input} where `broadcast` is asked for and cannot be.
void load_baseline(const comm::Communicator& communicator, const device::Context& context,
                   LoadMode mode, Executor& executor,
                   const std::function<void(const std::string&)>& log);

}  // namespace qsweep::sweep

template <>
inline constexpr auto qsweep::enum_names<qsweep::sweep::LoadMode> =
    std::to_array<qsweep::NamePair<qsweep::sweep::LoadMode>>(
        {{qsweep::sweep::LoadMode::automatic, "auto"},
         {qsweep::sweep::LoadMode::broadcast, "broadcast"},
         {qsweep::sweep::LoadMode::each, "each"}});
