#include "actors/model/timestamp.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr int64_t second = 1'000'000'000;

bool digits_only(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// strconv.ParseInt(text, 10, 64)
bool parse_int(std::string_view text, int64_t& out, bool& range) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (!text.empty() && text.front() == '+') ++begin;
  if (begin == end || (begin != text.data() && *begin == '-')) return false;
  const auto [p, error] = std::from_chars(begin, end, out);
  range = error == std::errc::result_out_of_range;
  return error == std::errc() && p == end;
}

// timestamp.parseTimestamp: SECONDS[.NANOSECONDS]
result<int64_t> seconds_and_fraction(std::string_view text) {
  const auto dot = text.find('.');
  const auto number = [&](std::string_view part, int64_t& out) -> result<void> {
    bool range = false;
    if (parse_int(part, out, range)) return {};
    return fail(errc::invalid_argument,
                "strconv.ParseInt: parsing " + go_quote(part) + (range ? ": value out of range" : ": invalid syntax"));
  };
  int64_t seconds = 0, nanos = 0;
  ARCA_CHECK(number(text.substr(0, dot), seconds));
  if (dot != std::string_view::npos) {
    auto fraction = std::string(text.substr(dot + 1));
    ARCA_CHECK(number(fraction, nanos));
    // ".5" is half a second
    const double scaled = static_cast<double>(nanos) * std::pow(10.0, 9.0 - static_cast<double>(fraction.size()));
    nanos = std::abs(scaled) < 9e18 ? static_cast<int64_t>(scaled) : 0;
  }
  int64_t total = 0;
  if (__builtin_mul_overflow(seconds, second, &total) || __builtin_add_overflow(total, nanos, &total))
    total = seconds < 0 ? INT64_MIN : INT64_MAX;
  return total;
}

// The layouts that the client may leave the end of: date, hour, minute, second, each with or without a zone.
bool parse_date(std::string_view text, int64_t& nanos) {
  std::string full(text);
  std::string zone = "Z";
  const auto t = full.find('T');
  const auto zone_at = full.find_first_of("zZ+-", t == std::string::npos ? std::min<size_t>(10, full.size()) : t);
  if (zone_at != std::string::npos) {
    zone = full.substr(zone_at) == "z" ? "Z" : full.substr(zone_at);
    full.resize(zone_at);
  }
  if (t == std::string::npos)
    full += "T00:00:00";
  else
    for (auto colons = std::count(full.begin(), full.end(), ':'); colons < 2; ++colons) full += ":00";
  return parse_rfc3339(full + zone, nanos);
}

}  // namespace

bool parse_duration(std::string_view text, int64_t& nanos) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  nanos = 0;
  if (text == "0") return true;
  if (text.empty()) return false;
  struct unit {
    std::string_view name;
    double nanos;
  };
  static constexpr unit units[] = {{"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
                                   {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
  long double total = 0;
  while (!text.empty()) {
    size_t n = 0;
    while (n < text.size() && (digits_only(text.substr(n, 1)) || text[n] == '.')) ++n;
    const auto number = text.substr(0, n);
    if (number.empty() || number == "." || std::count(number.begin(), number.end(), '.') > 1) return false;
    double value = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), value).ec != std::errc()) return false;
    text.remove_prefix(n);
    size_t letters = 0;
    while (letters < text.size() && text[letters] != '.' && !digits_only(text.substr(letters, 1))) ++letters;
    const auto* found = std::find_if(std::begin(units), std::end(units),
                                     [&](const unit& u) { return u.name == text.substr(0, letters); });
    if (found == std::end(units)) return false;
    total += static_cast<long double>(value) * found->nanos;
    text.remove_prefix(letters);
  }
  if (total > 9.2233720368e18L) return false;
  nanos = static_cast<int64_t>(total);
  if (negative) nanos = -nanos;
  return true;
}

result<int64_t> parse_time_or_duration(std::string_view text, int64_t now_nanos) {
  int64_t value = 0;
  if (text != "0" && parse_duration(text, value)) {
    int64_t then = 0;
    if (__builtin_sub_overflow(now_nanos, value, &then)) then = value < 0 ? INT64_MAX : INT64_MIN;
    return then - then % second;
  }
  if (parse_date(text, value)) return value;
  if (text.find('-') != std::string_view::npos)
    return fail(errc::invalid_argument, "parsing time " + go_quote(text) + " as \"2006-01-02\": cannot parse " +
                                            go_quote(text) + " as \"2006\"");
  auto seconds = seconds_and_fraction(text);
  if (!seconds) return fail(errc::invalid_argument, "failed to parse value as time or duration: " + go_quote(text));
  return *seconds;
}

result<int64_t> parse_unix_time(std::string_view text) {
  return seconds_and_fraction(text);
}

}  // namespace arca::model
