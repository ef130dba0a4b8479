#include "comm/communicator.hpp"

#include <array>
#include <cstdlib>

#include "base/error.hpp"
#include "base/files.hpp"

#ifdef QSWEEP_HAVE_MPI
#include <mpi.h>
#endif

namespace qsweep::comm {

bool launched_by_mpi() {
  constexpr std::array<const char*, 5> marks = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                                "PMI_SIZE", "MPI_LOCALNRANKS"};
  for (const char* mark : marks) {
    if (std::getenv(mark) != nullptr) return true;
  }
  return false;
}

#ifdef QSWEEP_HAVE_MPI

namespace {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorKind::internal, std::string("MPI failed in ") + call,
              std::string(text, static_cast<size_t>(length)));
}

}  // namespace

Communicator::Communicator() {
  if (!launched_by_mpi()) return;
  int initialized = 0;
  check(MPI_Initialized(&initialized), "MPI_Initialized");
  if (!initialized) {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    owns_mpi_ = true;
    if (provided < MPI_THREAD_SERIALIZED) {
      throw Error(ErrorKind::unavailable, "this MPI offers no MPI_THREAD_SERIALIZED",
                  "rank 0 hands out work from a thread of its own",
                  "use an MPI built with thread support");
    }
  }
  mpi_ = true;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  MPI_Comm node = MPI_COMM_NULL;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
        "MPI_Comm_split_type");
  check(MPI_Comm_rank(node, &local_rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(node, &local_size_), "MPI_Comm_size");
  node_leader_ = rank_;
  check(MPI_Bcast(&node_leader_, 1, MPI_INT, 0, node), "MPI_Bcast");
  MPI_Comm_free(&node);
}

Communicator::~Communicator() {
  if (owns_mpi_) MPI_Finalize();
}

void Communicator::barrier() const {
  if (mpi_) check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
}

std::string Communicator::broadcast(const std::string& text, int root) const {
  if (!mpi_ || size_ == 1) return text;
  uint64_t length = text.size();
  check(MPI_Bcast(&length, 1, MPI_UINT64_T, root, MPI_COMM_WORLD), "MPI_Bcast");
  expect(length < (1u << 30), "a broadcast text is shorter than 1 GiB");
  std::string copy = rank_ == root ? text : std::string(length, '\0');
  check(MPI_Bcast(copy.data(), static_cast<int>(length), MPI_CHAR, root, MPI_COMM_WORLD),
        "MPI_Bcast");
  return copy;
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  if (!mpi_ || size_ == 1) return {text};
  const auto ranks = static_cast<size_t>(size_);
  std::vector<int> lengths(ranks), offsets(ranks);
  const int length = static_cast<int>(text.size());
  check(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD),
        "MPI_Allgather");
  int total = 0;
  for (size_t r = 0; r < ranks; ++r) {
    offsets[r] = total;
    total += lengths[r];
  }
  std::string all(static_cast<size_t>(total), '\0');
  check(MPI_Allgatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(), offsets.data(),
                       MPI_CHAR, MPI_COMM_WORLD),
        "MPI_Allgatherv");
  std::vector<std::string> texts;
  for (size_t r = 0; r < ranks; ++r) {
    texts.push_back(all.substr(static_cast<size_t>(offsets[r]), static_cast<size_t>(lengths[r])));
  }
  return texts;
}

void Communicator::send(int to, int tag, const std::string& text) const {
  expect(mpi_ && to != rank_, "messages go to other ranks");
  check(MPI_Send(text.data(), static_cast<int>(text.size()), MPI_CHAR, to, tag, MPI_COMM_WORLD),
        "MPI_Send");
}

bool Communicator::poll(int tag, Message& message) const {
  if (!mpi_) return false;
  int found = 0;
  MPI_Status status;
  check(MPI_Iprobe(MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &found, &status), "MPI_Iprobe");
  if (!found) return false;
  int length = 0;
  check(MPI_Get_count(&status, MPI_CHAR, &length), "MPI_Get_count");
  message.source = status.MPI_SOURCE;
  message.text.assign(static_cast<size_t>(length), '\0');
  check(MPI_Recv(message.text.data(), length, MPI_CHAR, status.MPI_SOURCE, tag, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE),
        "MPI_Recv");
  return true;
}

void Communicator::abort(int code) const {
  if (mpi_) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

#else  // one rank, no MPI in this build

Communicator::Communicator() = default;
Communicator::~Communicator() = default;
void Communicator::barrier() const {}
std::string Communicator::broadcast(const std::string& text, int) const {
  return text;
}
std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  return {text};
}
void Communicator::send(int, int, const std::string&) const {
  expect(false, "one rank sends no messages");
}
bool Communicator::poll(int, Message&) const {
  return false;
}
void Communicator::abort(int code) const {
  std::_Exit(code);
}

#endif

void coordinated(const Communicator& communicator, const std::function<void()>& work) {
  // '-' for success, else the digit of the kind and the message.
  std::string outcome = "-";
  try {
    work();
  } catch (const Error& error) {
    outcome = std::to_string(static_cast<int>(error.kind())) + error.what();
  } catch (const std::filesystem::filesystem_error& error) {
    outcome = std::to_string(static_cast<int>(ErrorKind::io)) + file_error_text(error);
  } catch (const std::bad_alloc&) {
    outcome = std::to_string(static_cast<int>(ErrorKind::resource)) + "out of memory";
  } catch (const std::exception& error) {
    outcome = std::to_string(static_cast<int>(ErrorKind::internal)) + error.what();
  }
  const std::vector<std::string> outcomes = communicator.all_gather(outcome);
  ErrorKind kind = ErrorKind::internal;
  std::string text, first;
  bool alike = true;
  size_t failed = 0;
  for (size_t r = 0; r < outcomes.size(); ++r) {
    if (outcomes[r] == "-") continue;
    const std::string message = outcomes[r].substr(1);
    ++failed;
    if (text.empty()) {
      kind = static_cast<ErrorKind>(outcomes[r][0] - '0');
      first = message;
    } else {
      text += "\n";
      alike = alike && message == first;
    }
    text += "rank " + std::to_string(r) + ": " + message;
  }
  if (text.empty()) return;
  // The same fault seen by all ranks (a bad study, say) is told once.
  throw SharedError(kind, alike && failed == outcomes.size() ? first : text,
                    communicator.rank() == 0);
}

namespace {
constexpr int64_t max_ranks = 10'000'000;
}

void check_rank_count(const Communicator& communicator, int expected) {
  // Singletons all believe to be rank 0. Ranks that mpirun started on other nodes of an allocation
  // would read the number of its daemons.
  if (communicator.rank() != 0) return;
  const char* source = "--expect-ranks";
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (expected > 0) break;
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    expected = static_cast<int>(whole_number(value, name, 1, max_ranks));
    source = name;
  }
  if (expected <= 0 || expected == communicator.size()) return;
  throw_invalid(
      "MPI sees " + std::to_string(communicator.size()) + " rank(s), the launcher started " +
          std::to_string(expected),
      std::string(source) + "; ranks that do not know of each other would all do the same work",
      "start with mpirun, or srun --mpi=pmix; or give --expect-ranks N if this is meant");
}

}  // namespace qsweep::comm
