// Small text helpers that every folder needs: hex, ids, times as Docker writes them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace arca {

std::string to_hex(const void* data, size_t size);
/// `bytes` random bytes (getrandom) as lower-case hex: container ids are 32 bytes.
std::string random_hex(size_t bytes);

/// Nanoseconds since the Unix epoch, from the wall clock.
int64_t now_nanos();
/// RFC 3339 with nanoseconds in UTC, trailing zeros cut as Go's RFC3339Nano does ("2026-01-02T03:04:05.1Z"). 0 (never)
/// gives "0001-01-01T00:00:00Z", Go's zero time.
std::string rfc3339_nano(int64_t unix_nanos);
/// The reverse; also with offsets ("+01:00"). False when the text is no RFC 3339 time.
bool parse_rfc3339(std::string_view text, int64_t& unix_nanos);

std::vector<std::string> split(std::string_view text, char separator);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
std::string lower(std::string_view text);
/// Go's strconv.Quote for plain text: what %q prints in Docker's messages.
std::string go_quote(std::string_view text);

}  // namespace arca
