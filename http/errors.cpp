#include "http/errors.hpp"

#include <nlohmann/json.hpp>

namespace arca::http {

int status_of(errc code) {
  switch (code) {
    case errc::none:
      return 200;
    case errc::not_modified:
      return 304;
    case errc::invalid_argument:
      return 400;
    case errc::unauthorized:
      return 401;
    case errc::forbidden:
      return 403;
    case errc::not_found:
      return 404;
    case errc::conflict:
      return 409;
    case errc::gone:
      return 410;
    case errc::unsupported:
      return 501;
    case errc::unavailable:
      return 503;
    case errc::timeout:
    case errc::cancelled:
    case errc::internal:
      break;
  }
  return 500;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

std::string error_json(std::string_view message) {
  return nlohmann::json{{"message", message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

response error_response(int status, std::string_view message) {
  if (status == 304) return response::empty(304);
  return response::json(status, error_json(message));
}

response error_response(const error& e) {
  return error_response(status_of(e.code()), e.message());
}

}  // namespace arca::http
