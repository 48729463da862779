#include "persistence/base/error.hpp"

#include <cerrno>
#include <system_error>

namespace arca {

std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::none:
      return "none";
    case errc::invalid_argument:
      return "invalid_argument";
    case errc::unauthorized:
      return "unauthorized";
    case errc::forbidden:
      return "forbidden";
    case errc::not_found:
      return "not_found";
    case errc::not_modified:
      return "not_modified";
    case errc::conflict:
      return "conflict";
    case errc::gone:
      return "gone";
    case errc::unsupported:
      return "unsupported";
    case errc::unavailable:
      return "unavailable";
    case errc::timeout:
      return "timeout";
    case errc::cancelled:
      return "cancelled";
    case errc::internal:
      return "internal";
  }
  return "unknown";
}

error error::wrap(std::string_view context) const {
  return {code_, std::string(context) + ": " + message_};
}

error errno_error(std::string_view context, int number) {
  auto code = number == ENOENT ? errc::not_found : number == EEXIST ? errc::conflict : errc::internal;
  return {code, std::string(context) + ": " + std::generic_category().message(number)};
}

tl::unexpected<error> fail_errno(std::string_view context) {
  return fail(errno_error(context, errno));
}

}  // namespace arca
