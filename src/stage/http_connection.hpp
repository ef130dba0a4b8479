// One request on the wire, without any judgement; http.cpp makes requests out of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace qsweep::stage {

struct WireResult;
struct WireRequest {
  std::string url;
  bool head = false;
  std::vector<std::string> headers;  // "Name: value"
  double stall_s = 30, connect_s = 15;
  // Bytes of the body as they come, with the status and headers so far; may throw.
  std::function<void(const WireResult&, std::span<const char>)> body;
  std::function<void()> check_stop;  // may throw
};
struct WireResult {
  int64_t status = 0;
  std::map<std::string, std::string> headers;  // of the last answer, names in lower case
  bool framed = false;                         // HTTP/2 or later: the end of a body is told
  std::string redirect;                        // where the server points, as a whole address
  double retry_after = 0;                      // seconds that it asks to wait
  bool broken = false;                         // no whole answer came, because of:
  std::string problem;
  bool may_pass = false;  // and asking again may help
};

class HttpConnection {
 public:
  HttpConnection();
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;
  WireResult send(const WireRequest& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qsweep::stage
