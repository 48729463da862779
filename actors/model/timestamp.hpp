// Times in queries, as Docker reads them: Unix seconds with a fraction, durations before now, and dates.
#pragma once
#include <cstdint>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

/// Go's time.ParseDuration: "1h30m", "-1.5s", "100ms", "0". False for what is none.
bool parse_duration(std::string_view text, int64_t& nanos);

/// What `until` filters take: "10m" (before now), "1700000000", "1700000000.5", RFC 3339, "2006-01-02T15:04",
/// "2006-01-02" → unix nanoseconds. errc::invalid_argument: failed to parse value as time or duration: "xyz".
result<int64_t> parse_time_or_duration(std::string_view text, int64_t now_nanos);

/// `since` and `until` of logs and events: "SECONDS[.FRACTION]" → unix nanoseconds.
/// errc::invalid_argument: strconv.ParseInt: parsing "x": invalid syntax.
result<int64_t> parse_unix_time(std::string_view text);

}  // namespace arca::model
