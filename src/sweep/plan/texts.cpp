#include "sweep/plan/texts.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "eval/workload.hpp"

namespace qsweep::sweep {
namespace {

// Size of a text that is not here: WikiText-2's test set in tokens, rounded; and UTF-8 bytes a
// token of English.
constexpr int64_t usual_tokens = 300000;
constexpr double bytes_per_token = 4;

}  // namespace

const Text& Texts::of(const std::string& data) {
  const auto [found, fresh] = texts_.try_emplace(data);
  if (fresh) found->second = look_up(data);
  return found->second;
}

Text Texts::of(const eval::Cell& cell) {
  const auto* params = std::get_if<eval::PerplexityParams>(&cell.params);
  return params == nullptr ? Text{{}, usual_tokens} : of(params->data);
}

Text Texts::look_up(const std::string& data) const {
  try {
    const auto file = eval::find_text(data, study_.file);
    const auto size = static_cast<double>(std::filesystem::file_size(file));
    return {sha256_file(file), static_cast<int64_t>(size / bytes_per_token)};
  } catch (const Error&) {
    return {{}, usual_tokens};  // a plan needs no files; require_inputs says where it looked
  } catch (const std::filesystem::filesystem_error&) {
    return {{}, usual_tokens};
  }
}

}  // namespace qsweep::sweep
