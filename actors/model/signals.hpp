// Signal names as Docker takes them: "SIGTERM", "term", "15", "SIGRTMIN+3".
#pragma once
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

/// errc::invalid_argument "invalid signal: x". "0" and numbers that Linux does not have are refused.
result<int> parse_signal(std::string_view text);
/// "SIGTERM" …; "" for unknown numbers.
std::string_view signal_name(int number);
/// Whether Linux has this signal (kill's check).
bool valid_signal(int number);

}  // namespace arca::model
