// The detachKeys parameter of attach and exec: "ctrl-p,ctrl-q", "a,ctrl-@", "ctrl-[".
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

inline constexpr std::string_view default_detach_keys = "\x10\x11";  ///< ctrl-p ctrl-q

/// The bytes that detach; "" gives the default. Attach: errc::invalid_argument "Invalid detach keys (x) provided".
result<std::string> parse_detach_keys(std::string_view text);
/// Exec: errc::internal "Invalid escape keys (x) provided".
result<std::string> parse_exec_detach_keys(std::string_view text);

}  // namespace arca::model
