#include "actors/image/path_match.hpp"

namespace arca {
namespace {
// One character of a name as Go sees it: a whole UTF-8 sequence.
size_t rune_size(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 1;
  return size <= text.size() ? size : 1;
}

// One element of a class, an escape taken off.
bool class_rune(std::string_view& pattern, std::string_view& rune) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') return false;
  if (pattern[0] == '\\') {
    pattern.remove_prefix(1);
    if (pattern.empty()) return false;
  }
  const auto size = rune_size(pattern);
  rune = pattern.substr(0, size);
  pattern.remove_prefix(size);
  return !pattern.empty();
}

enum class step : uint8_t { match, no_match, bad };

// Matches the beginning of `name` with a pattern without "*"; what is left of `name` in `rest`. The whole pattern is
// read even after it failed, so that a bad one is always found.
step match_chunk(std::string_view chunk, std::string_view name, std::string_view& rest) {
  bool failed = false;
  while (!chunk.empty()) {
    if (!failed && name.empty()) failed = true;
    switch (chunk[0]) {
      case '[': {
        std::string_view found;
        if (!failed) {
          found = name.substr(0, rune_size(name));
          name.remove_prefix(found.size());
        }
        chunk.remove_prefix(1);
        const bool negated = !chunk.empty() && chunk[0] == '^';
        if (negated) chunk.remove_prefix(1);
        bool in = false;
        for (int ranges = 0;; ++ranges) {
          if (!chunk.empty() && chunk[0] == ']' && ranges > 0) {
            chunk.remove_prefix(1);
            break;
          }
          std::string_view low, high;
          if (!class_rune(chunk, low)) return step::bad;
          high = low;
          if (chunk[0] == '-') {
            chunk.remove_prefix(1);
            if (!class_rune(chunk, high)) return step::bad;
          }
          if (low <= found && found <= high) in = true;
        }
        if (in == negated) failed = true;
        break;
      }
      case '?':
        if (!failed) {
          if (name[0] == '/') failed = true;
          name.remove_prefix(rune_size(name));
        }
        chunk.remove_prefix(1);
        break;
      case '\\':
        chunk.remove_prefix(1);
        if (chunk.empty()) return step::bad;
        [[fallthrough]];
      default:
        if (!failed) {
          if (chunk[0] != name[0]) failed = true;
          name.remove_prefix(1);
        }
        chunk.remove_prefix(1);
    }
  }
  rest = name;
  return failed ? step::no_match : step::match;
}

// Cuts stars and the chunk up to the next star off the pattern.
std::string_view next_chunk(std::string_view& pattern, bool& star) {
  star = false;
  while (!pattern.empty() && pattern[0] == '*') {
    pattern.remove_prefix(1);
    star = true;
  }
  bool in_class = false;
  size_t i = 0;
  for (; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (i + 1 < pattern.size()) ++i;
    } else if (c == '[') {
      in_class = true;
    } else if (c == ']') {
      in_class = false;
    } else if (c == '*' && !in_class) {
      break;
    }
  }
  const auto chunk = pattern.substr(0, i);
  pattern.remove_prefix(i);
  return chunk;
}
}  // namespace

result<bool> path_match(std::string_view pattern, std::string_view name) {
  const auto bad = [] { return fail(errc::internal, "syntax error in pattern"); };
  while (!pattern.empty()) {
    bool star = false;
    const auto chunk = next_chunk(pattern, star);
    if (star && chunk.empty()) return name.find('/') == std::string_view::npos;
    std::string_view rest;
    const auto direct = match_chunk(chunk, name, rest);
    if (direct == step::bad) return bad();
    if (direct == step::match && (rest.empty() || !pattern.empty())) {
      name = rest;
      continue;
    }
    bool advanced = false;
    if (star) {
      for (size_t i = 0; i < name.size() && name[i] != '/' && !advanced; ++i) {
        const auto later = match_chunk(chunk, name.substr(i + 1), rest);
        if (later == step::bad) return bad();
        if (later == step::match && (!pattern.empty() || rest.empty())) {
          name = rest;
          advanced = true;
        }
      }
    }
    if (advanced) continue;
    // No match; what is left of the pattern must be well-formed all the same.
    while (!pattern.empty()) {
      const auto left = next_chunk(pattern, star);
      std::string_view ignored;
      if (match_chunk(left, "", ignored) == step::bad) return bad();
    }
    return false;
  }
  return name.empty();
}

}  // namespace arca
