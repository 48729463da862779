// The one place where the engine's errors become HTTP.
#pragma once
#include "http/exchange.hpp"

namespace arca::http {

int status_of(errc code);
std::string_view reason_of(int status);  ///< "Not Found"; empty for an unknown code
/// {"message": …} with the status of the error's code; without a body for 304.
response error_response(const error& e);
response error_response(int status, std::string_view message);
/// The text of {"message": …}, for errors inside a stream.
std::string error_json(std::string_view message);

}  // namespace arca::http
