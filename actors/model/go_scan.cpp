#include "actors/model/go_scan.hpp"

#include <vector>

#include "actors/model/utf8.hpp"

namespace arca::model::go {
namespace {

constexpr size_t max_depth = 10000;  // as in Go

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool hex_digit(char c) {
  return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

class scanner {
 public:
  scanner(std::string_view text, size_t from) : text_(text), at_(from) {}

  scanned run() {
    at_ = skip_space(text_, at_);
    out_.begin = at_;
    if (at_ == text_.size()) {
      out_.empty = true;
      return out_;
    }
    bool value_next = true;
    while (out_.error.empty() && !out_.truncated) {
      if (value_next) {
        value_next = !begin_value();  // an opened list or object wants its first element
        continue;
      }
      if (open_.empty()) break;
      value_next = end_value();
    }
    out_.end = at_;
    return out_;
  }

 private:
  bool more() {
    if (at_ < text_.size()) return true;
    out_.truncated = true;
    return false;
  }
  bool skip_to_more() {
    at_ = skip_space(text_, at_);
    return more();
  }
  void wrong(std::string_view context) { out_.error = invalid_character(text_, at_, context); }
  void open(char c) {
    open_.push_back(c);
    if (open_.size() > max_depth) wrong("exceeded max depth");
    ++at_;
  }

  // True when a whole value has been passed; false when another value follows at once.
  bool begin_value() {
    if (!skip_to_more()) return true;
    switch (const char c = text_[at_]; c) {
      case '{':
        open(c);
        if (!out_.error.empty() || !skip_to_more()) return true;
        if (text_[at_] == '}') return close();
        key();
        return false;
      case '[':
        open(c);
        if (!out_.error.empty() || !skip_to_more()) return true;
        if (text_[at_] == ']') return close();
        return false;
      case '"':
        string();
        return true;
      case 't':
        literal("true");
        return true;
      case 'f':
        literal("false");
        return true;
      case 'n':
        literal("null");
        return true;
      default:
        if (c == '-' || digit(c))
          number();
        else
          wrong("looking for beginning of value");
        return true;
    }
  }
  bool close() {
    open_.pop_back();
    ++at_;
    return true;
  }
  // After a value inside a list or object: true when another value comes.
  bool end_value() {
    if (!skip_to_more()) return false;
    const char c = text_[at_];
    if (open_.back() == '{') {
      if (c == ',') {
        ++at_;
        if (skip_to_more()) key();
        return true;
      }
      if (c == '}') return !close();
      wrong("after object key:value pair");
      return false;
    }
    if (c == ',') {
      ++at_;
      return true;
    }
    if (c == ']') return !close();
    wrong("after array element");
    return false;
  }
  void key() {
    if (text_[at_] != '"') return wrong("looking for beginning of object key string");
    string();
    if (!out_.error.empty() || out_.truncated || !skip_to_more()) return;
    if (text_[at_] != ':') return wrong("after object key");
    ++at_;
  }
  void string() {
    for (++at_; more(); ++at_) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return;
      }
      if (c < 0x20) return wrong("in string literal");
      if (c != '\\') continue;
      ++at_;
      if (!more()) return;
      if (text_[at_] == 'u') {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          if (!more()) return;
          if (!hex_digit(text_[at_])) return wrong("in \\u hexadecimal character escape");
        }
      } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return wrong("in string escape code");
      }
    }
  }
  void literal(std::string_view word) {
    for (size_t i = 1; i < word.size(); ++i) {
      ++at_;
      if (!more()) return;
      if (text_[at_] != word[i]) return wrong("in literal " + std::string(word) + " (expecting '" + word[i] + "')");
    }
    ++at_;
  }
  void digits() {
    while (at_ < text_.size() && digit(text_[at_])) ++at_;
  }
  void number() {
    if (text_[at_] == '-') {
      ++at_;
      if (!more()) return;
      if (!digit(text_[at_])) return wrong("in numeric literal");
    }
    if (text_[at_] == '0')
      ++at_;
    else
      digits();
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!more()) return;
      if (!digit(text_[at_])) return wrong("after decimal point in numeric literal");
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (!more()) return;
      if (text_[at_] == '+' || text_[at_] == '-') {
        ++at_;
        if (!more()) return;
      }
      if (!digit(text_[at_])) return wrong("in exponent of numeric literal");
      digits();
    }
  }

  std::string_view text_;
  size_t at_;
  std::vector<char> open_;
  scanned out_;
};

}  // namespace

std::string invalid_character(std::string_view text, size_t at, std::string_view context) {
  const auto c = static_cast<unsigned char>(text[at]);
  std::string shown;
  if (const auto length = utf8_length(text, at); length > 1) {
    shown = text.substr(at, length);
    if (shown == "\xef\xbb\xbf") shown = "\\ufeff";  // the byte order mark that some editors leave
    return "invalid character '" + shown + "' " + std::string(context);
  }
  static constexpr char digits[] = "0123456789abcdef";
  switch (c) {
    case '\'':
      shown = "\\'";
      break;
    case '\\':
      shown = "\\\\";
      break;
    case '\a':
      shown = "\\a";
      break;
    case '\b':
      shown = "\\b";
      break;
    case '\f':
      shown = "\\f";
      break;
    case '\n':
      shown = "\\n";
      break;
    case '\r':
      shown = "\\r";
      break;
    case '\t':
      shown = "\\t";
      break;
    case '\v':
      shown = "\\v";
      break;
    default:
      if (c < 0x20 || c == 0x7f) {
        shown = std::string("\\x") + digits[c >> 4] + digits[c & 15];
      } else if (c < 0x80) {
        shown = static_cast<char>(c);
      } else if (c < 0xa1 || c == 0xad) {  // not printable in Latin-1
        shown = std::string("\\u00") + digits[c >> 4] + digits[c & 15];
      } else {
        shown += static_cast<char>(0xc0 | (c >> 6));
        shown += static_cast<char>(0x80 | (c & 0x3f));
      }
  }
  return "invalid character '" + shown + "' " + std::string(context);
}

scanned scan_value(std::string_view text, size_t from) {
  return scanner(text, from).run();
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) ++at;
  return at;
}

size_t string_end(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at < text.size() ? at + 1 : text.size();
}

size_t value_end(std::string_view text, size_t at) {
  at = skip_space(text, at);
  size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = string_end(text, at);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
      continue;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;
      --depth;
      ++at;
    } else if (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++at;
      continue;
    } else {
      while (at < text.size() && std::string_view(",:]}\" \t\r\n").find(text[at]) == std::string_view::npos) ++at;
    }
    if (depth == 0) return at;
  }
  return at;
}

}  // namespace arca::model::go
