// The table of workloads says what a study may name, and points to the engines. A fuzzer reads
// studies and runs none.
#include "base/error.hpp"
#include "eval/workloads.hpp"

namespace qsweep::eval {
namespace {

[[noreturn]] void refuse() {
  throw Error(ErrorKind::internal, "a fuzzer came to run a workload", "it reads studies only");
}

}  // namespace

void run_profile(const RunInput&, record::RunRecord&) {
  refuse();
}
void run_perplexity(const RunInput&, record::RunRecord&) {
  refuse();
}
void run_synthetic(const RunInput&, record::RunRecord&) {
  refuse();
}

}  // namespace qsweep::eval
