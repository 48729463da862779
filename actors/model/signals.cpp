#include "actors/model/signals.hpp"

#include <algorithm>
#include <charconv>

namespace arca::model {
namespace {

struct named {
  std::string_view name;
  int number;
};
// Linux on x86-64 and arm64; the first name of a number is the one that is printed.
constexpr named names[] = {{"HUP", 1},   {"INT", 2},   {"QUIT", 3},  {"ILL", 4},     {"TRAP", 5},    {"ABRT", 6},
                           {"IOT", 6},   {"BUS", 7},   {"FPE", 8},   {"KILL", 9},    {"USR1", 10},   {"SEGV", 11},
                           {"USR2", 12}, {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15},   {"STKFLT", 16}, {"CHLD", 17},
                           {"CLD", 17},  {"CONT", 18}, {"STOP", 19}, {"TSTP", 20},   {"TTIN", 21},   {"TTOU", 22},
                           {"URG", 23},  {"XCPU", 24}, {"XFSZ", 25}, {"VTALRM", 26}, {"PROF", 27},   {"WINCH", 28},
                           {"IO", 29},   {"POLL", 29}, {"PWR", 30},  {"SYS", 31},    {"RTMIN", 34},  {"RTMAX", 64}};

// "RTMIN+N" (N to 15) and "RTMAX-N" (N to 14)
bool real_time(std::string_view name, int& number) {
  const bool low = name.substr(0, 6) == "RTMIN+", high = name.substr(0, 6) == "RTMAX-";
  if (!low && !high) return false;
  int offset = 0;
  const auto rest = name.substr(6);
  const auto [p, error] = std::from_chars(rest.data(), rest.data() + rest.size(), offset);
  if (error != std::errc() || p != rest.data() + rest.size() || offset < 1 || offset > (low ? 15 : 14) ||
      rest.front() == '0')
    return false;
  number = low ? 34 + offset : 64 - offset;
  return true;
}

}  // namespace

result<int> parse_signal(std::string_view text) {
  auto digits = text;
  if (!digits.empty() && digits.front() == '+') digits.remove_prefix(1);
  int number = 0;
  const auto [p, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc() && p == digits.data() + digits.size() && !digits.empty() &&
      (digits.size() == text.size() || digits.front() != '-')) {
    if (number != 0) return number;
    return fail(errc::invalid_argument, "invalid signal: " + std::string(text));
  }
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
  if (name.compare(0, 3, "SIG") == 0) name.erase(0, 3);
  for (const auto& row : names)
    if (row.name == name) return row.number;
  if (real_time(name, number)) return number;
  return fail(errc::invalid_argument, "invalid signal: " + std::string(text));
}

std::string signal_name(int number) {
  for (const auto& row : names)
    if (row.number == number) return "SIG" + std::string(row.name);
  if (number > 34 && number < 50) return "SIGRTMIN+" + std::to_string(number - 34);
  if (number >= 50 && number < 64) return "SIGRTMAX-" + std::to_string(64 - number);
  return {};
}

bool valid_signal(int number) {
  return !signal_name(number).empty();
}

}  // namespace arca::model
