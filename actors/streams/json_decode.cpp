#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "actors/streams/json_line.hpp"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace arca {

namespace {

/// How many bytes from the start are neither a quote nor a backslash.
size_t unescaped_prefix(const char* p, const char* end) {
  const char* const begin = p;
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    if (const int mask = _mm_movemask_epi8(hit))
      return static_cast<size_t>(p - begin) + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
  }
#endif
  while (p < end && *p != '"' && *p != '\\') ++p;
  return static_cast<size_t>(p - begin);
}

bool take(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// The end of a JSON string whose opening quote is already passed: the position of its closing quote.
size_t string_end(std::string_view text) {
  size_t at = 0;
  for (;;) {
    at += unescaped_prefix(text.data() + at, text.data() + text.size());
    if (at >= text.size()) return std::string_view::npos;
    if (text[at] == '"') return at;
    at += 2;
    if (at > text.size()) return std::string_view::npos;
  }
}

/// Lines exactly as our writer makes them.
bool parse_own_form(std::string_view line, json_line& out) {
  if (!take(line, "{\"log\":\"")) return false;
  const auto end = string_end(line);
  if (end == std::string_view::npos) return false;
  out.escaped = line.substr(0, end);
  line.remove_prefix(end);
  if (take(line, "\",\"stream\":\"stdout\","))
    out.stream = 1;
  else if (take(line, "\",\"stream\":\"stderr\","))
    out.stream = 2;
  else
    return false;
  out.attributes = {};
  if (take(line, "\"attrs\":{")) {
    const std::string_view object(line.data() - 1, line.size() + 1);
    for (bool first = true; !take(line, "}"); first = false) {  // "key":"value",…
      if (!first && !take(line, ",")) return false;
      for (const bool key : {true, false}) {
        if (!take(line, "\"")) return false;
        const auto quote = string_end(line);
        if (quote == std::string_view::npos) return false;
        line.remove_prefix(quote + 1);
        if (key && !take(line, ":")) return false;
      }
    }
    out.attributes = object.substr(0, object.size() - line.size());
    if (!take(line, ",")) return false;
  }
  if (!take(line, "\"time\":\"") || line.size() < 22 || line.substr(line.size() - 2) != "\"}") return false;
  out.time = line.substr(0, line.size() - 2);
  out.decoded = false;
  return out.time.size() <= 30 && out.time.back() == 'Z' && out.time.find_first_of("\"\\") == std::string_view::npos;
}

/// Any other valid JSON: Docker reads it too (fields in another order, other white space).
bool parse_other_form(std::string_view line, json_line& out) {
  const auto doc = nlohmann::json::parse(line, nullptr, false);
  if (!doc.is_object()) return false;
  const auto text = [&doc](const char* key) {
    const auto found = doc.find(key);
    return found != doc.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  out.text = text("log");
  out.time_text = text("time");
  const auto stream = text("stream");
  out.stream = stream == "stdout" ? 1 : stream == "stderr" ? 2 : 0;
  out.attributes_text.clear();
  if (const auto attrs = doc.find("attrs"); attrs != doc.end() && attrs->is_object())
    out.attributes_text = attrs->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  out.escaped = {};
  out.time = out.time_text;
  out.attributes = out.attributes_text;
  out.decoded = true;
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Four hex digits at `p`, or -1.
int32_t code_unit(const char* p, const char* end) {
  if (end - p < 4) return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(p[i]);
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

char* put_rune(char* to, uint32_t rune) {
  const auto byte = [&to](uint32_t value) { *to++ = static_cast<char>(value); };
  if (rune < 0x80) {
    byte(rune);
  } else if (rune < 0x800) {
    byte(0xc0 | rune >> 6);
    byte(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    byte(0xe0 | rune >> 12);
    byte(0x80 | (rune >> 6 & 0x3f));
    byte(0x80 | (rune & 0x3f));
  } else {
    byte(0xf0 | rune >> 18);
    byte(0x80 | (rune >> 12 & 0x3f));
    byte(0x80 | (rune >> 6 & 0x3f));
    byte(0x80 | (rune & 0x3f));
  }
  return to;
}

/// `to` must have room for 3/2 of the escaped form: a broken "\\u" becomes U+FFFD, three bytes; all else gets shorter.
char* unescape(char* to, const char* p, const char* end) {
  while (p < end) {
    const size_t run = unescaped_prefix(p, end);
    std::memcpy(to, p, run);
    to += run;
    p += run;
    if (end - p < 2) break;
    const char c = p[1];
    p += 2;
    switch (c) {
      case 'n':
        *to++ = '\n';
        break;
      case 'r':
        *to++ = '\r';
        break;
      case 't':
        *to++ = '\t';
        break;
      case 'b':
        *to++ = '\b';
        break;
      case 'f':
        *to++ = '\f';
        break;
      case 'u': {
        const int32_t unit = code_unit(p, end);
        if (unit < 0) {
          to = put_rune(to, 0xfffd);
          break;
        }
        p += 4;
        auto rune = static_cast<uint32_t>(unit);
        if (rune >= 0xd800 && rune < 0xe000) {
          const int32_t low = rune < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? code_unit(p + 2, end) : -1;
          if (low >= 0xdc00 && low < 0xe000) {
            rune = 0x10000 + ((rune - 0xd800) << 10 | (static_cast<uint32_t>(low) - 0xdc00));
            p += 6;
          } else {
            rune = 0xfffd;
          }
        }
        to = put_rune(to, rune);
        break;
      }
      default:
        *to++ = c;
    }
  }
  return to;
}

/// Go's url.QueryEscape.
std::string query_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.' || c == '~';
    if (keep) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      constexpr char digits[] = "0123456789ABCDEF";
      const auto u = static_cast<unsigned char>(c);
      out += '%';
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out;
}

}  // namespace

bool parse_json_line(std::string_view line, json_line& out) {
  return parse_own_form(line, out) || parse_other_form(line, out);
}

void append_text(raw_buffer& out, const json_line& line) {
  if (line.decoded) return out.append(line.text);
  out.reserve_more(line.escaped.size() * 3 / 2 + 4);
  out.advance_to(unescape(out.end(), line.escaped.data(), line.escaped.data() + line.escaped.size()));
}

std::string details_text(std::string_view attributes_json) {
  if (attributes_json.empty()) return {};
  const auto doc = nlohmann::json::parse(attributes_json, nullptr, false);
  if (!doc.is_object()) return {};
  std::string out;
  for (const auto& [key, value] : doc.items()) {  // sorted: nlohmann's objects are maps
    if (!value.is_string()) continue;
    if (!out.empty()) out += ',';
    out += query_escape(key) + '=' + query_escape(value.get_ref<const std::string&>());
  }
  return out;
}

void append_fixed_time(raw_buffer& out, std::string_view time) {
  const auto zone = time.find_first_of("Zz+-", 19);
  if (time.size() < 20 || zone == std::string_view::npos) return out.append(time);
  out.append(time.substr(0, 19));
  auto fraction = time.substr(19, zone - 19);
  if (!fraction.empty()) fraction.remove_prefix(1);
  char digits[10] = {'.', '0', '0', '0', '0', '0', '0', '0', '0', '0'};
  std::memcpy(digits + 1, fraction.data(), std::min<size_t>(fraction.size(), 9));
  out.append({digits, 10});
  out.append(time.substr(zone));
}

}  // namespace arca
