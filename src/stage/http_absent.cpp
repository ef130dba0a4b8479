// A build without libcurl and libarchive: everything but staging works.
#include "base/error.hpp"
#include "stage/http.hpp"
#include "stage/http_connection.hpp"

namespace qsweep::stage {

struct HttpConnection::State {};

bool can_stage() {
  return false;
}

HttpConnection::HttpConnection() {
  require_staging();
}
HttpConnection::~HttpConnection() = default;

WireResult HttpConnection::send(const WireRequest&) {
  require_staging();
  return {};
}

std::string origin_of(const std::string& url) {
  require_staging();
  return url;
}

}  // namespace qsweep::stage
