// Why a process could not be set up, said by code that may not use memory of the heap (between clone and execve).
#pragma once
#include <array>
#include <cerrno>
#include <initializer_list>
#include <string>
#include <string_view>

namespace arca::guest::native {

struct problem {
  int number = 0;  ///< errno, 0: none
  std::array<char, 768> text{};

  /// Joins `parts` (cut where the room ends); always false, for `return why.say(...)`.
  bool say(int error_number, std::initializer_list<std::string_view> parts) noexcept {
    number = error_number;
    size_t at = 0;
    for (const auto part : parts)
      for (const char c : part)
        if (at + 1 < text.size()) text[at++] = c;
    text[at] = '\0';
    return false;
  }
  bool say_errno(std::initializer_list<std::string_view> parts) noexcept { return say(errno, parts); }
  /// "TEXT: strerror"; the parent's side.
  std::string message() const;
};

}  // namespace arca::guest::native
