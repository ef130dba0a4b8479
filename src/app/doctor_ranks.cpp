#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "app/doctor.hpp"
#include "base/error.hpp"
#include "base/text_table.hpp"
#include "device/gpu.hpp"

namespace qsweep::app {
namespace {

constexpr size_t max_ranks_shown = 32;

std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : tamed(value);
}

std::string host_name() {
  std::ifstream in("/proc/sys/kernel/hostname");
  std::string name;
  std::getline(in, name);
  return tamed(name);
}

std::vector<int> own_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// The GPU that open_gpu() takes for this rank; sharing is judged later, so it is allowed here.
std::string own_gpu(int local_rank, int local_ranks) {
  if (device::gpu_count() == 0) return "";
  try {
    device::open_gpu(local_rank, local_ranks, true);
    return device::gpu_info().uuid;
  } catch (const Error& error) {
    return error.what();
  }
}

std::map<std::string, std::vector<const RankPlace*>> by_host(const std::vector<RankPlace>& places) {
  std::map<std::string, std::vector<const RankPlace*>> nodes;
  for (const RankPlace& place : places) nodes[place.host].push_back(&place);
  return nodes;
}

Finding judge_gpus(const std::string& host, const std::vector<const RankPlace*>& ranks) {
  std::map<std::string, int> users;
  int without = 0, seen = 0;
  for (const RankPlace* rank : ranks) {
    if (rank->gpu.empty()) {
      ++without;
    } else {
      ++users[rank->gpu];
    }
    seen = std::max(seen, rank->gpus);
  }
  const std::string node = host + ": ";
  if (users.empty()) return {Level::ok, node + "no GPU, runs use the CPU", ""};
  if (without > 0) {
    return {Level::fail, node + plural(static_cast<size_t>(without), "rank") + " without a GPU",
            "ask for a GPU for every rank (gpus_per_node of the site)"};
  }
  for (const auto& [gpu, count] : users) {
    if (count < 2) continue;
    return {Level::fail, node + std::to_string(count) + " ranks on " + gpu,
            "start one rank for each GPU, or pass --allow-sharing where it is meant"};
  }
  if (static_cast<size_t>(seen) < ranks.size()) {
    return {Level::warn, node + "each rank sees only its own GPU",
            "let all ranks see the node's GPUs (--gres, and srun --gpu-bind=none)"};
  }
  return {Level::ok, node + "a GPU of its own for each rank", ""};
}

// Ranks that were bound to the same few cores wait for each other; ranks that may all use the whole
// node share it out by themselves.
Finding judge_cores(const std::string& host, const std::vector<const RankPlace*>& ranks) {
  std::map<int, int> users;
  std::set<size_t> sizes;
  for (const RankPlace* rank : ranks) {
    for (const int core : rank->cores) ++users[core];
    sizes.insert(rank->cores.size());
  }
  const size_t cores = users.size();
  const bool alone = std::ranges::all_of(users, [](const auto& user) { return user.second == 1; });
  const std::string node = host + ": ";
  if (cores < ranks.size()) {
    return {Level::warn,
            node + plural(ranks.size(), "rank") + " on " + plural(cores, "core") + " (" +
                ranges_text(ranks.front()->cores) + ")",
            "give each rank cores of its own: --cpus-per-task, and no binding to one core"};
  }
  if (alone || (sizes.size() == 1 && *sizes.begin() == cores)) {
    return {Level::ok, node + plural(cores, "core") + " for " + plural(ranks.size(), "rank"), ""};
  }
  return {Level::warn, node + "ranks are bound to cores that overlap", "see --cpu-bind"};
}

nlohmann::json to_json(const RankPlace& place) {
  return {{"rank", place.rank}, {"local", place.local_rank}, {"locals", place.local_ranks},
          {"host", place.host}, {"cores", place.cores},      {"gpus", place.gpus},
          {"gpu", place.gpu},   {"visible", place.visible}};
}

RankPlace from_json(const nlohmann::json& json) {
  RankPlace place;
  place.rank = json.at("rank");
  place.local_rank = json.at("local");
  place.local_ranks = json.at("locals");
  place.host = json.at("host");
  place.cores = json.at("cores").get<std::vector<int>>();
  place.gpus = json.at("gpus");
  place.gpu = json.at("gpu");
  place.visible = json.at("visible");
  return place;
}

}  // namespace

std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (end > i) text += fmt::format("-{}", numbers[end]);
    i = end + 1;
  }
  return text;
}

std::vector<RankPlace> gather_places(const comm::Communicator& communicator) {
  RankPlace place;
  place.rank = communicator.rank();
  place.local_rank = communicator.local_rank();
  place.local_ranks = communicator.local_size();
  place.host = host_name();
  place.cores = own_cores();
  place.gpus = device::gpu_count();
  place.gpu = own_gpu(place.local_rank, place.local_ranks);
  place.visible = environment_text("CUDA_VISIBLE_DEVICES");
  std::vector<RankPlace> places;
  for (const std::string& text : communicator.all_gather(to_json(place).dump()))
    places.push_back(from_json(nlohmann::json::parse(text)));
  return places;
}

std::string places_text(const std::vector<RankPlace>& places) {
  TextTable table("rlrlll");
  table.add({"rank", "node", "local", "cores", "GPU", "visible"});
  for (size_t i = 0; i < std::min(places.size(), max_ranks_shown); ++i) {
    const RankPlace& place = places[i];
    table.add({std::to_string(place.rank), place.host, std::to_string(place.local_rank),
               ranges_text(place.cores), place.gpu.empty() ? "-" : place.gpu,
               place.visible.empty() ? "-" : place.visible});
  }
  std::string text = table.text();
  if (places.size() > max_ranks_shown)
    text += fmt::format("  ... and {} more ranks\n", places.size() - max_ranks_shown);
  return text;
}

Findings judge_ranks(const std::vector<RankPlace>& places) {
  Findings findings;
  std::set<size_t> sizes;
  const auto nodes = by_host(places);
  for (const auto& [host, ranks] : nodes) {
    findings.push_back(judge_gpus(host, ranks));
    findings.push_back(judge_cores(host, ranks));
    sizes.insert(ranks.size());
    // MPI groups by shared memory; nodes (or containers) of one name would mix up files there.
    const auto locals = static_cast<size_t>(ranks.front()->local_ranks);
    if (locals != ranks.size()) {
      findings.push_back({Level::warn,
                          host + ": " + plural(ranks.size(), "rank") + " of that host name, but " +
                              std::to_string(locals) + " share memory",
                          "do several nodes or containers have one host name?"});
    }
  }
  if (sizes.size() > 1) {
    findings.push_back({Level::warn, "nodes have unequal numbers of ranks",
                        "set --ntasks-per-node, or the launcher's mapping"});
  }
  return findings;
}

Finding check_launch(const comm::Communicator& communicator) {
#ifdef QSWEEP_HAVE_MPI
  try {
    comm::check_rank_count(communicator);
  } catch (const Error& error) {
    return {Level::fail, error.what(), ""};
  }
  if (!communicator.uses_mpi()) {
    return {Level::ok, "MPI is built in; this process was started without a launcher: one rank",
            ""};
  }
  return {Level::ok,
          plural(static_cast<size_t>(communicator.size()), "rank") +
              ", as many as the launcher started",
          ""};
#else
  static_cast<void>(communicator);
  const std::string tasks = environment_text("SLURM_NTASKS");
  if (!tasks.empty() && tasks != "1") {
    return {Level::fail, "built without MPI, and Slurm started " + tasks + " tasks",
            "each would do all of the work: build with an MPI, or use jobs/array.sbatch"};
  }
  return {Level::ok, "built without MPI: one rank", "install an MPI and build again for several"};
#endif
}

}  // namespace qsweep::app
