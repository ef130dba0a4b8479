#include "sweep/share/request.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace qsweep::sweep {

std::string to_message(const Request& request) {
  nlohmann::json json = {{"seconds", request.seconds},   {"load_seconds", request.load_seconds},
                         {"status", request.status},     {"error", request.error},
                         {"resident", request.resident}, {"leaving", request.leaving},
                         {"stop_all", request.stop_all}};
  if (request.finished) json["finished"] = *request.finished;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Request from_message(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    Request request;
    request.seconds = json.at("seconds");
    request.load_seconds = json.at("load_seconds");
    request.status = json.at("status");
    request.error = json.at("error");
    request.resident = json.at("resident").get<std::set<size_t>>();
    request.leaving = json.at("leaving");
    request.stop_all = json.at("stop_all");
    if (json.contains("finished")) request.finished = json.at("finished").get<size_t>();
    return request;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::internal, "unreadable request of a rank", error.what());
  }
}

}  // namespace qsweep::sweep
