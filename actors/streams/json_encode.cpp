#include <algorithm>
#include <cstring>

#include "actors/streams/json_line.hpp"
#include "persistence/base/text.hpp"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace arca {

void raw_buffer::grow(size_t needed) {
  const auto capacity = std::max(needed, std::max<size_t>(capacity_ * 2, 4096));
  std::unique_ptr<char[]> bigger(new char[capacity]);
  if (size_ != 0) std::memcpy(bigger.get(), data_.get(), size_);
  data_ = std::move(bigger);
  capacity_ = capacity;
}

void raw_buffer::append(std::string_view bytes) {
  reserve_more(bytes.size());
  if (!bytes.empty()) std::memcpy(end(), bytes.data(), bytes.size());
  size_ += bytes.size();
}

void raw_buffer::trim(size_t limit) {
  if (capacity_ <= limit) return;
  data_.reset();
  size_ = capacity_ = 0;
}

namespace {

constexpr char hex_digits[] = "0123456789abcdef";

bool plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

/// How many bytes from the start need no escape.
size_t plain_prefix(const char* p, const char* end) {
  const char* const begin = p;
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // Signed: bytes from 0x80 up are negative, so "less than 0x20" finds them and the control characters.
    __m128i bad = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
    // '<' is 0x3c, '>' is 0x3e: equal but for one bit.
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(2)), _mm_set1_epi8('>')));
    if (const int mask = _mm_movemask_epi8(bad))
      return static_cast<size_t>(p - begin) + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
  }
#endif
  while (p < end && plain(static_cast<unsigned char>(*p))) ++p;
  return static_cast<size_t>(p - begin);
}

/// Length of the UTF-8 sequence at `p`, 0 when it is invalid (Go's utf8.DecodeRune).
size_t utf8_length(const char* p, const char* end, uint32_t& rune) {
  const auto at = [&](ptrdiff_t i) { return static_cast<unsigned char>(p[i]); };
  const unsigned char lead = at(0);
  size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (static_cast<size_t>(end - p) < length || at(1) < low || at(1) > high) return 0;
  rune = lead & (0x7fu >> length);
  rune = rune << 6 | (at(1) & 0x3fu);
  for (size_t i = 2; i < length; ++i) {
    const unsigned char c = at(static_cast<ptrdiff_t>(i));
    if (c < 0x80 || c > 0xbf) return 0;
    rune = rune << 6 | (c & 0x3fu);
  }
  return length;
}

char* put(char* to, std::string_view text) {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

/// `to` must have room for six times the text.
char* escape(char* to, const char* p, const char* end) {
  while (p < end) {
    const size_t run = plain_prefix(p, end);
    std::memcpy(to, p, run);
    to += run;
    p += run;
    if (p == end) break;
    const auto c = static_cast<unsigned char>(*p);
    if (c < 0x80) {
      ++p;
      switch (c) {
        case '"':
        case '\\':
          *to++ = '\\';
          *to++ = static_cast<char>(c);
          break;
        case '\n':
          to = put(to, "\\n");
          break;
        case '\r':
          to = put(to, "\\r");
          break;
        default:
          to = put(to, "\\u00");
          *to++ = hex_digits[c >> 4];
          *to++ = hex_digits[c & 15];
      }
      continue;
    }
    uint32_t rune = 0;
    const size_t length = utf8_length(p, end, rune);
    if (length == 0) {
      to = put(to, "\\ufffd");
      ++p;
    } else if (rune == 0x2028 || rune == 0x2029) {
      to = put(to, rune == 0x2028 ? "\\u2028" : "\\u2029");
      p += length;
    } else {
      to = put(to, {p, length});
      p += length;
    }
  }
  return to;
}

}  // namespace

void append_json_escaped(raw_buffer& out, std::string_view text) {
  out.reserve_more(text.size() * 6);
  out.advance_to(escape(out.end(), text.data(), text.data() + text.size()));
}

json_line_encoder::json_line_encoder(const std::map<std::string, std::string>& attributes) {
  if (attributes.empty()) return;
  raw_buffer json;
  const auto quoted = [&json](const std::string& text) {
    json.append("\"");
    append_json_escaped(json, text);
    json.append("\"");
  };
  json.append(",\"attrs\":{");
  bool first = true;
  for (const auto& [key, value] : attributes) {
    if (!first) json.append(",");
    first = false;
    quoted(key);
    json.append(":");
    quoted(value);
  }
  json.append("}");
  attributes_ = json.view();
}

void json_line_encoder::make_suffix(int stream, int64_t time) {
  constexpr int64_t billion = 1'000'000'000;
  const int64_t second = time >= 0 ? time / billion : (time - (billion - 1)) / billion;
  if (second != second_ || second_text_.empty()) {
    second_ = second;
    // Not through 0, which stands for Go's zero time there.
    second_text_ = rfc3339_nano(second == 0 ? 1 : second * billion).substr(0, 19);
  }
  suffix_ = stream == 2 ? "\",\"stream\":\"stderr\"" : "\",\"stream\":\"stdout\"";
  suffix_ += attributes_;
  suffix_ += ",\"time\":\"";
  suffix_ += second_text_;
  if (int64_t fraction = time - second * billion; fraction != 0) {
    char digits[10] = {'.'};
    for (int i = 9; i >= 1; --i) {
      digits[i] = static_cast<char>('0' + fraction % 10);
      fraction /= 10;
    }
    size_t length = 10;
    while (digits[length - 1] == '0') --length;
    suffix_.append(digits, length);
  }
  suffix_ += "Z\"}\n";
  suffix_stream_ = stream;
  suffix_time_ = time;
}

void json_line_encoder::append(raw_buffer& out, std::string_view head, std::string_view tail, bool newline, int stream,
                               int64_t time) {
  if (stream != suffix_stream_ || time != suffix_time_) make_suffix(stream, time);
  out.reserve_more(16 + 6 * (head.size() + tail.size()) + suffix_.size());
  char* to = put(out.end(), "{\"log\":\"");
  if (head.empty()) {
    to = escape(to, tail.data(), tail.data() + tail.size());
  } else if (tail.empty()) {
    to = escape(to, head.data(), head.data() + head.size());
  } else {
    // A character may lie across the border.
    const std::string joined = std::string(head).append(tail);
    to = escape(to, joined.data(), joined.data() + joined.size());
  }
  if (newline) to = put(to, "\\n");
  out.advance_to(put(to, suffix_));
}

}  // namespace arca
