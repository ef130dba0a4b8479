// One request over libcurl; what is asked again and where to is decided in http.cpp.
#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <mutex>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "stage/http_connection.hpp"

namespace qsweep::stage {
namespace {

constexpr size_t max_headers = 200, max_header_bytes = 16384;
constexpr long drip_bytes_per_s = 1000;
constexpr long buffer_bytes = 256 * 1024;

// What the callbacks of one request share. They are called from C: nothing may be thrown through.
struct Transfer {
  const WireRequest& request;
  WireResult& result;
  std::exception_ptr failure;
  Stopwatch silence;  // since the last byte
  curl_off_t arrived = 0;
  bool stalled = false;

  template <class F>
  bool guarded(const F& work) {
    try {
      work();
      return true;
    } catch (...) {
      if (!failure) failure = std::current_exception();
      return false;
    }
  }
};

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  return first == std::string_view::npos ? "" : std::string(text.substr(first, last - first + 1));
}

size_t on_header(char* data, size_t, size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const std::string_view line(data, size);
  const bool fine = transfer.guarded([&] {
    if (line.starts_with("HTTP/")) {  // another answer: after 100 Continue, or of a proxy
      transfer.result.headers.clear();
      transfer.result.framed = line.starts_with("HTTP/2") || line.starts_with("HTTP/3");
      const size_t blank = std::min(line.find(' '), line.size());
      transfer.result.status = std::strtol(std::string(line.substr(blank)).c_str(), nullptr, 10);
      return;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || size > max_header_bytes) return;
    if (transfer.result.headers.size() >= max_headers) return;
    std::string name = trimmed(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    transfer.result.headers[name] = trimmed(line.substr(colon + 1));
  });
  return fine ? size : 0;
}

size_t on_body(char* data, size_t, size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const bool fine = transfer.guarded([&] {
    if (!transfer.request.body) return;
    transfer.request.body(transfer.result, std::span<const char>(data, size));
  });
  return fine ? size : 0;
}

// libcurl calls it about once a second even where nothing comes.
int on_progress(void* context, curl_off_t, curl_off_t arrived, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (arrived != transfer.arrived) transfer.silence.restart();
  transfer.arrived = arrived;
  transfer.stalled = transfer.silence.seconds() > transfer.request.stall_s;
  return transfer.guarded([&] { transfer.request.check_stop(); }) && !transfer.stalled ? 0 : 1;
}

// Faults of a moment; others (a name that cannot be an address, a certificate that does not hold)
// stay as they are.
bool may_pass(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

const char* certificates_of_environment() {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return nullptr;
}

}  // namespace

bool can_stage() {
  return true;
}

struct HttpConnection::State {
  CURL* handle = nullptr;
};

HttpConnection::HttpConnection() : state_(std::make_unique<State>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  state_->handle = curl_easy_init();
  expect(state_->handle != nullptr, "libcurl gives a handle");
}

HttpConnection::~HttpConnection() {
  curl_easy_cleanup(state_->handle);
}

WireResult HttpConnection::send(const WireRequest& request) {
  CURL* const curl = state_->handle;
  curl_easy_reset(curl);
  WireResult result;
  Transfer transfer{request, result, nullptr, {}};
  char problem[CURL_ERROR_SIZE] = "";
  curl_slist* headers = nullptr;
  for (const std::string& line : request.headers)
    headers = curl_slist_append(headers, line.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, long{CURLPROTO_HTTP | CURLPROTO_HTTPS});
#endif
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_HEADEROPT,
                   long{CURLHEADER_SEPARATE});  // a proxy gets none of them
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "qsweep");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, buffer_bytes);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_s * 1000));
  // Silence is watched by on_progress; this is for servers that drip.
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, drip_bytes_per_s);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   std::max(1L, static_cast<long>(2 * request.stall_s)));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  if (const char* bundle = certificates_of_environment())
    curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  if (transfer.failure) std::rethrow_exception(transfer.failure);
  long status = 0;
  curl_off_t pause = 0;
  char* redirect = nullptr;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &pause);
  result.status = status;
  result.redirect = redirect == nullptr ? "" : redirect;
  result.retry_after = static_cast<double>(pause);
  result.broken = code != CURLE_OK;
  result.may_pass = may_pass(code) || transfer.stalled;
  if (transfer.stalled) {
    result.problem = "nothing came for " + human_seconds(request.stall_s);
  } else if (code != CURLE_OK) {
    result.problem = *problem != '\0' ? problem : curl_easy_strerror(code);
  }
  return result;
}

std::string origin_of(const std::string& url) {
  CURLU* const parts = curl_url();
  char *scheme = nullptr, *host = nullptr, *port = nullptr;
  const bool fine = curl_url_set(parts, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK &&
                    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
  std::string origin;
  if (fine) origin = std::string(scheme) + "://" + host + ":" + port;
  for (char* part : {scheme, host, port}) curl_free(part);
  curl_url_cleanup(parts);
  std::transform(origin.begin(), origin.end(), origin.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (!origin.starts_with("https://") && !origin.starts_with("http://")) {
    throw_invalid("not an address to download from: " + url.substr(0, 200),
                  "expected http:// or https://");
  }
  return origin;
}

}  // namespace qsweep::stage
