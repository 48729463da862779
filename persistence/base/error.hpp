// The one error type of the project: a code, a message for the person, and what lies beneath it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace arca {

/// What kind of failure it is. http/errors.cpp maps each to one status code; nothing else does.
enum class errc : uint8_t {
  none = 0,
  invalid_argument,  ///< 400: the caller's input is wrong
  unauthorized,      ///< 401: credentials are missing or refused
  forbidden,         ///< 403
  not_found,         ///< 404
  not_modified,      ///< 304: already in the asked state
  conflict,          ///< 409: in use, wrong state, name taken
  gone,              ///< 410
  unsupported,       ///< 501: Arca does not do this, and says so
  unavailable,       ///< 503: not now (engine is stopping, overloaded)
  timeout,           ///< 504 inside, 500 to Docker's clients
  cancelled,         ///< the caller went away
  internal,          ///< 500
};

/// snake_case name of a code, for logs.
std::string_view to_string(errc code) noexcept;

/// A failure. `message` is written for the user, in Docker's words where Docker has some.
class error {
 public:
  error() = default;
  error(errc code, std::string message) : code_(code), message_(std::move(message)) {}

  errc code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }

  /// The same code, with "context: " before the message.
  error wrap(std::string_view context) const;

 private:
  errc code_ = errc::none;
  std::string message_;
};

template <class T>
using result = tl::expected<T, error>;

/// return fail(errc::not_found, "No such image: x");
inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error(code, std::move(message)));
}
inline tl::unexpected<error> fail(error e) {
  return tl::unexpected<error>(std::move(e));
}

/// An error from errno: "CONTEXT: strerror(number)". ENOENT is not_found, EEXIST conflict, the rest internal.
error errno_error(std::string_view context, int number);
tl::unexpected<error> fail_errno(std::string_view context);  ///< with the current errno

}  // namespace arca

/// Evaluates a result<T>; returns its error from the enclosing function, else declares `name` as the value.
#define ARCA_TRY(name, ...)                                       \
  auto name##_result = (__VA_ARGS__);                             \
  if (!name##_result) return ::arca::fail(name##_result.error()); \
  auto& name = *name##_result

/// The same for result<void>.
#define ARCA_CHECK(...)                                                                                         \
  do {                                                                                                          \
    if (auto arca_checked = (__VA_ARGS__); !arca_checked) return ::arca::fail(std::move(arca_checked).error()); \
  } while (false)
