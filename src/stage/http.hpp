// Asking servers: GET, HEAD, and downloads that resume and are checked while they stream. Retries
// with growing pauses what may pass (no connection, a break, a stall, 408, 429, 5xx), follows few
// redirects and none from https to http, and gives the token to its own server alone. The library
// reads the usual proxy variables (https_proxy, no_proxy) itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep::stage {

// Whether this build can ask servers and open archives at all.
bool can_stage();
// Throws Error{unavailable} that says what to install where it cannot.
void require_staging();

struct HttpSettings {
  int tries = 5;          // of a request, in a row without progress
  double backoff_s = 1;   // pause after the first failure; doubled each time, 60 s at most
  double stall_s = 30;    // a connection that brings nothing for so long is given up
  double connect_s = 15;  // until a connection stands
  std::string token;      // secret: sent as a bearer token to token_origin, and nowhere else
  std::string token_origin;
  std::function<void()> check_stop = [] {};  // called several times a second; may throw
};
// QSWEEP_HTTP_TRIES, QSWEEP_HTTP_BACKOFF_MS, QSWEEP_HTTP_STALL_S, QSWEEP_HTTP_CONNECT_S over the
// defaults. Throws Error{invalid_input} for a value out of range.
HttpSettings http_settings_of_environment();

// "https://host:port" in lower case, the port always there; throws Error{invalid_input} where the
// text is no http or https address.
std::string origin_of(const std::string& url);
// The address without user, password, query and fragment: those may be secret.
std::string shown_url(const std::string& url);
// Percent-encodes one component of a path.
std::string encode_component(std::string_view text);

struct HttpAnswer {
  int64_t status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; of the last redirect
  std::string body;                            // get() only
  std::string url;                             // that answered
  std::string header(const std::string& name) const;
  std::optional<uint64_t> length() const;  // Content-Length
};

// What was asked, for the message, and what the server said instead of yes. 401, 403, 404 and 410
// are Error{invalid_input}: the name or the token is wrong; anything else is Error{io}.
[[noreturn]] void throw_status(const std::string& what, const HttpAnswer& answer);

struct Download {
  std::string url;
  std::filesystem::path part;    // grows here; kept after a failure so that the next try resumes it
  std::optional<uint64_t> size;  // exact, where it is known
  uint64_t max_bytes = 0;        // where it is not
  std::string expected;          // 64 hex digits: SHA-256; 40: git's blob SHA-1 (needs size); or ""
  // Change of the bytes that are here; negative where some had to be given up.
  std::function<void(int64_t)> progress = [](int64_t) {};
};
struct Downloaded {
  uint64_t size = 0;
  std::string sha256, etag;
};

class HttpConnection;

// One connection; used by one thread at a time.
class HttpClient {
 public:
  explicit HttpClient(HttpSettings settings);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status but those that were retried in vain, which throw Error{io}.
  HttpAnswer get(const std::string& url, uint64_t max_bytes);
  // A redirect to another server is an answer, not followed: the hub's own headers stand there.
  HttpAnswer head(const std::string& url);
  // The bytes [begin, begin + size) of a file; throws Error{io} where the server gives others.
  std::string get_range(const std::string& url, uint64_t begin, uint64_t size);
  // `part` is whole, checked and synced afterwards. Bytes of an earlier process are used only where
  // `expected` can prove them. Throws Error{io} on wrong bytes or a wrong length, and as above.
  Downloaded download(const Download& download);

 private:
  struct Ask;
  HttpAnswer ask(const Ask& ask);
  HttpAnswer ask_once(const Ask& ask, double& retry_after);
  void pause(double seconds) const;
  HttpSettings settings_;
  std::unique_ptr<HttpConnection> connection_;
};

}  // namespace qsweep::stage
