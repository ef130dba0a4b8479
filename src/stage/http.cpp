#include "stage/http.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "stage/http_ask.hpp"

namespace qsweep::stage {
namespace {

constexpr int max_redirects = 5;
constexpr double max_backoff_s = 60, max_retry_after_s = 120;
// An attempt that brought this much starts the count of tries anew: a large file over a bad line.
constexpr uint64_t progress_bytes = 1 << 20;
constexpr int max_attempts = 1000;

bool is_redirect(int64_t status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}
bool is_busy(int64_t status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504;
}

double from_environment(const char* name, double fallback, int64_t low, int64_t high, double unit) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return fallback;
  return static_cast<double>(whole_number(value, name, low, high)) * unit;
}

}  // namespace

void require_staging() {
  if (can_stage()) return;
  throw Error(ErrorKind::unavailable, "this build cannot download",
              "libcurl or libarchive was missing when it was configured",
              "install libcurl4-openssl-dev and libarchive-dev (env/bootstrap.sh does) and build "
              "again, or stage on another machine");
}

HttpSettings http_settings_of_environment() {
  HttpSettings settings;
  settings.tries =
      static_cast<int>(from_environment("QSWEEP_HTTP_TRIES", settings.tries, 1, 100, 1));
  settings.backoff_s =
      from_environment("QSWEEP_HTTP_BACKOFF_MS", settings.backoff_s, 0, 60000, 1e-3);
  settings.stall_s = from_environment("QSWEEP_HTTP_STALL_S", settings.stall_s, 1, 3600, 1);
  settings.connect_s = from_environment("QSWEEP_HTTP_CONNECT_S", settings.connect_s, 1, 3600, 1);
  return settings;
}

std::string shown_url(const std::string& url) {
  std::string shown = url.substr(0, std::min(url.find_first_of("?#"), url.size()));
  const size_t scheme = shown.find("://");
  const size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const size_t end = std::min(shown.find('/', begin), shown.size());
  const size_t user = shown.rfind('@', end);
  if (user != std::string::npos && user >= begin && user < end)
    shown.erase(begin, user + 1 - begin);
  return shown;
}

std::string encode_component(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return encoded;
}

std::string HttpAnswer::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::optional<uint64_t> HttpAnswer::length() const {
  const std::string text = header("content-length");
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoull(text);
}

void throw_status(const std::string& what, const HttpAnswer& answer) {
  const std::string told = answer.header("x-error-message").substr(0, 300);
  const std::string why = "the server answered " + std::to_string(answer.status) +
                          (told.empty() ? "" : ": " + told) + ", " + shown_url(answer.url);
  const bool wrong_name =
      answer.status == 401 || answer.status == 403 || answer.status == 404 || answer.status == 410;
  throw Error(wrong_name ? ErrorKind::invalid_input : ErrorKind::io, what, why);
}

HttpClient::HttpClient(HttpSettings settings)
    : settings_(std::move(settings)), connection_(std::make_unique<HttpConnection>()) {}

HttpClient::~HttpClient() = default;

void HttpClient::pause(double seconds) const {
  const Stopwatch watch;
  while (watch.seconds() < seconds) {
    settings_.check_stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Follows redirects; throws Passing for what may pass.
HttpAnswer HttpClient::ask_once(const Ask& ask, double& retry_after) {
  std::string url = ask.url;
  std::map<std::string, std::string> about_file;
  for (int hop = 0; hop <= max_redirects; ++hop) {
    WireRequest request;
    request.url = url;
    request.head = ask.head;
    request.headers = ask.prepare();
    request.stall_s = settings_.stall_s;
    request.connect_s = settings_.connect_s;
    request.body = ask.body;
    request.check_stop = settings_.check_stop;
    request.headers.push_back("Accept-Encoding: identity");
    const std::string from = origin_of(url);
    if (!settings_.token.empty() && from == settings_.token_origin)
      request.headers.push_back("Authorization: Bearer " + settings_.token);
    const WireResult result = connection_->send(request);
    if (result.broken && result.may_pass) throw Passing{result.problem};
    if (result.broken)
      throw Error(ErrorKind::io, "cannot download " + shown_url(url), result.problem);
    retry_after = result.retry_after;
    HttpAnswer answer{result.status, result.headers, "", url};
    // What the hub says about a file stands in the first answer, even where it redirects.
    for (const char* name : {"x-linked-etag", "x-linked-size", "x-repo-commit"}) {
      const auto told = answer.headers.find(name);
      if (told != answer.headers.end()) about_file[name] = told->second;
    }
    answer.headers.insert(about_file.begin(), about_file.end());
    if (!is_redirect(result.status) || result.redirect.empty()) return answer;
    const std::string to = origin_of(result.redirect);
    if (ask.head && from != to) return answer;
    if (from.starts_with("https:") && to.starts_with("http:")) {
      throw Error(ErrorKind::io,
                  "redirect refused from " + shown_url(url) + " to " + shown_url(result.redirect),
                  "it leads from https to http", "is a proxy or a login page in the way?");
    }
    url = result.redirect;
  }
  throw Error(ErrorKind::io, "too many redirects from " + shown_url(ask.url),
              "more than " + std::to_string(max_redirects) + ", the last one to " + shown_url(url));
}

// Tries again with growing pauses.
HttpAnswer HttpClient::ask(const Ask& ask) {
  int failed = 0;
  std::string reason = "the connection breaks again and again";
  for (int attempt = 0; attempt < max_attempts; ++attempt) {
    double retry_after = 0;
    if (ask.gained != nullptr) *ask.gained = 0;
    try {
      HttpAnswer answer = ask_once(ask, retry_after);
      if (!is_busy(answer.status)) {
        ask.judge(answer);
        return answer;
      }
      reason = "the server answered " + std::to_string(answer.status);
    } catch (const Passing& caught) {
      reason = caught.reason;
    }
    const bool progress = ask.gained != nullptr && *ask.gained >= progress_bytes;
    failed = progress ? 1 : failed + 1;
    if (failed >= settings_.tries) break;
    const double backoff = std::min(max_backoff_s, settings_.backoff_s * std::exp2(failed - 1));
    pause(std::max(backoff, std::min(retry_after, max_retry_after_s)));
  }
  throw Error(ErrorKind::io, "cannot download " + shown_url(ask.url),
              reason + "; tried " + std::to_string(failed) + " times in a row",
              "try again later: what has arrived is kept");
}

HttpAnswer HttpClient::get(const std::string& url, uint64_t max_bytes) {
  std::string body;
  Ask request;
  request.url = url;
  request.prepare = [&] {
    body.clear();
    return std::vector<std::string>{};
  };
  request.body = [&](const WireResult& head, std::span<const char> bytes) {
    if (head.status != 200) return;
    if (body.size() + bytes.size() > max_bytes) {
      throw Error(ErrorKind::io, "the answer of " + shown_url(url) + " is too large",
                  "more than " + std::to_string(max_bytes) + " bytes");
    }
    body.append(bytes.data(), bytes.size());
  };
  HttpAnswer answer = ask(request);
  answer.body = std::move(body);
  return answer;
}

HttpAnswer HttpClient::head(const std::string& url) {
  Ask request;
  request.url = url;
  request.head = true;
  return ask(request);
}

std::string HttpClient::get_range(const std::string& url, uint64_t begin, uint64_t size) {
  std::string body;
  Ask request;
  request.url = url;
  request.prepare = [&] {
    body.clear();
    return std::vector<std::string>{"Range: bytes=" + std::to_string(begin) + "-" +
                                    std::to_string(begin + size - 1)};
  };
  request.body = [&](const WireResult& head, std::span<const char> bytes) {
    if (head.status != 206) return;
    if (body.size() + bytes.size() > size)
      throw Error(ErrorKind::io, shown_url(url) + " sends more than the range that was asked for",
                  "");
    body.append(bytes.data(), bytes.size());
  };
  const HttpAnswer answer = ask(request);
  if (answer.status == 200) {
    throw Error(ErrorKind::io, shown_url(url) + " cannot be read in parts",
                "the server does not answer range requests");
  }
  if (answer.status != 206) throw_status("cannot read a part of " + shown_url(url), answer);
  const auto range = parse_content_range(answer.header("content-range"));
  if (!range || range->begin != begin || body.size() != size)
    throw Error(ErrorKind::io, shown_url(url) + " sends another range than was asked for", "");
  return body;
}

}  // namespace qsweep::stage
