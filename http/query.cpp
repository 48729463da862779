#include "http/query.hpp"

#include <charconv>
#include <cmath>
#include <limits>

#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class number_fault : uint8_t { none, syntax, range };

// Decimal with an optional sign, the whole text.
number_fault read_integer(std::string_view text, int64_t& value) {
  auto digits = text;
  if (!digits.empty() && digits.front() == '+') digits.remove_prefix(1);
  if (!digits.empty() && digits.front() == '-' && digits.size() != text.size()) return number_fault::syntax;  // "+-1"
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (ec == std::errc::invalid_argument || end != digits.data() + digits.size()) return number_fault::syntax;
  return ec == std::errc::result_out_of_range ? number_fault::range : number_fault::none;
}

std::string_view text_of(number_fault fault) {
  return fault == number_fault::range ? "value out of range" : "invalid syntax";
}

result<int64_t> parse_integer(std::string_view function, std::string_view text) {
  int64_t value = 0;
  if (const auto fault = read_integer(text, value); fault != number_fault::none)
    return fail(errc::internal, "strconv." + std::string(function) + ": parsing " + go_quote(text) + ": " +
                                    std::string(text_of(fault)));
  return value;
}

}  // namespace

result<std::string> unescape(std::string_view text, bool plus) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return fail(errc::invalid_argument, "invalid URL escape " + go_quote(text.substr(i, 3)));
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += plus && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string escape_path(std::string_view path) {
  constexpr std::string_view plain = "-_.~$&+,/:;=@";
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || plain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += {'%', hex[byte >> 4], hex[byte & 15]};
    }
  }
  return out;
}

result<query_values> query_values::parse(std::string_view text) {
  query_values q;
  while (!text.empty()) {
    const auto cut = text.find('&');
    auto pair = text.substr(0, cut);
    text = cut == std::string_view::npos ? std::string_view{} : text.substr(cut + 1);
    if (pair.find(';') != std::string_view::npos)
      return fail(errc::invalid_argument, "invalid semicolon separator in query");
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    ARCA_TRY(name, unescape(pair.substr(0, equals), true));
    ARCA_TRY(value, unescape(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1), true));
    q.values_.emplace_back(std::move(name), std::move(value));
  }
  return q;
}

const std::string& query_values::get(std::string_view name) const {
  static const std::string none;
  for (const auto& [key, value] : values_)
    if (key == name) return value;
  return none;
}

bool query_values::has(std::string_view name) const {
  for (const auto& [key, value] : values_)
    if (key == name) return true;
  return false;
}

std::vector<std::string> query_values::all(std::string_view name) const {
  std::vector<std::string> found;
  for (const auto& [key, value] : values_)
    if (key == name) found.push_back(value);
  return found;
}

bool query_values::flag(std::string_view name) const {
  std::string_view raw = get(name);
  constexpr std::string_view blanks = " \t\r\n\v\f";
  const auto first = raw.find_first_not_of(blanks);
  raw = first == std::string_view::npos ? std::string_view{}
                                        : raw.substr(first, raw.find_last_not_of(blanks) - first + 1);
  const auto value = lower(raw);
  return !(value.empty() || value == "0" || value == "no" || value == "false" || value == "none");
}

bool query_values::flag_or(std::string_view name, bool otherwise) const {
  return has(name) ? flag(name) : otherwise;
}

result<int64_t> go_atoi(std::string_view text) {
  return parse_integer("Atoi", text);
}

result<int64_t> parse_timestamp(std::string_view text) {
  if (text.empty()) return 0;
  const auto dot = text.find('.');
  ARCA_TRY(seconds, parse_integer("ParseInt", text.substr(0, dot)));
  int64_t nanos = 0;
  if (dot != std::string_view::npos) {
    const auto fraction = text.substr(dot + 1);
    ARCA_TRY(digits, parse_integer("ParseInt", fraction));
    const double scaled = static_cast<double>(digits) * std::pow(10.0, 9.0 - static_cast<double>(fraction.size()));
    if (std::abs(scaled) < 1e10) nanos = static_cast<int64_t>(scaled);
  }
  int64_t total = 0;
  if (__builtin_mul_overflow(seconds, int64_t{1'000'000'000}, &total) || __builtin_add_overflow(total, nanos, &total))
    total = seconds < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  return total;
}

result<uint32_t> parse_size(std::string_view what, std::string_view text) {
  int64_t value = 0;
  auto fault = read_integer(text, value);
  if (fault == number_fault::none && (value < 0 || value > std::numeric_limits<uint32_t>::max()))
    fault = number_fault::range;
  if (fault != number_fault::none)
    return fail(errc::invalid_argument,
                "invalid resize " + std::string(what) + " " + go_quote(text) + ": " + std::string(text_of(fault)));
  return static_cast<uint32_t>(value);
}

}  // namespace arca::http
