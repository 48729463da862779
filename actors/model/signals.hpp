// Signal names as Docker takes them: "SIGTERM", "term", "15", "RTMIN+3".
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

/// Any number but 0 is taken as it is (see valid_signal). errc::invalid_argument "invalid signal: x".
result<int> parse_signal(std::string_view text);
/// "SIGTERM" …; "" for numbers that Linux does not have.
std::string signal_name(int number);
/// Whether Linux has this signal; kill answers 400 "the linux daemon does not support signal 999" otherwise.
bool valid_signal(int number);

}  // namespace arca::model
