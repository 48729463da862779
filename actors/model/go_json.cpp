#include "actors/model/go_json.hpp"

#include <charconv>
#include <cmath>

#include "actors/model/go_scan.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/utf8.hpp"

namespace arca::model {
namespace go {
namespace {

uint32_t hex4(std::string_view s) {
  uint32_t v = 0;
  for (const char c : s.substr(0, 4)) v = v * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  return v;
}

// `literal` is a well-formed JSON string with its quotes.
std::string unquote(std::string_view literal) {
  std::string out;
  const auto s = literal.substr(1, literal.size() - 2);
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '\\') {
      const auto n = utf8_length(s, i);
      if (n == 0) {
        append_utf8(out, utf8_replacement);
        ++i;
      } else {
        out.append(s, i, n);
        i += n;
      }
      continue;
    }
    switch (s[i + 1]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        auto c = hex4(s.substr(i + 2));
        i += 6;
        if (c >= 0xd800 && c < 0xe000) {
          const bool pair = c < 0xdc00 && s.substr(i, 2) == "\\u" && i + 6 <= s.size();
          const auto low = pair ? hex4(s.substr(i + 2)) : 0;
          if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            i += 6;
          } else {
            c = utf8_replacement;
          }
        }
        append_utf8(out, c);
        continue;
      }
      default:
        out += s[i + 1];
    }
    i += 2;
  }
  return out;
}

class decoder {
 public:
  explicit decoder(std::string_view text) : text_(text) {}

  void value(const schema& type, json& out, size_t& at) {
    at = skip_space(text_, at);
    const char c = text_[at];
    if (c == 'n') return null(type, out, at);
    switch (type.kind) {
      case kind::pointer:
        return value(*type.element, out, at);
      case kind::object:
        return c == '{' ? object(type, out, at) : mismatch(type, out, at);
      case kind::map:
        return c == '{' ? map(type, out, at) : mismatch(type, out, at);
      case kind::slice:
        return c == '[' ? slice(type, out, at) : mismatch(type, out, at);
      case kind::array:
        return c == '[' ? array(type, out, at) : mismatch(type, out, at);
      case kind::string_list:
        return string_list(out, at);
      case kind::string: {
        if (c != '"') return mismatch(type, out, at);
        const auto end = string_end(text_, at);
        out = unquote(text_.substr(at, end - at));
        at = end;
        return;
      }
      case kind::boolean:
        if (c != 't' && c != 'f') return mismatch(type, out, at);
        out = c == 't';
        at = value_end(text_, at);
        return;
      case kind::integer:
      case kind::floating:
        return number(type, out, at);
      case kind::raw:
        at = value_end(text_, at);
        return;  // no request has a field of free form
    }
  }

  // Fields that are there only; a pointer that Go embeds is allocated by any of them.
  void present(const schema& type, json& out, size_t& at) {
    at = skip_space(text_, at);
    out = json::object();
    if (text_[at] == 'n') {
      at = value_end(text_, at);
      return;
    }
    if (text_[at] != '{') return mismatch(type, out, at);
    fields(type, out, at);
  }

  const std::string& error() const { return error_; }

 private:
  void null(const schema& type, json& out, size_t& at) {
    at += 4;
    switch (type.kind) {
      case kind::pointer:
      case kind::slice:
      case kind::map:
      case kind::string_list:
      case kind::raw:
        out = nullptr;
        return;
      default:
        if (out.is_null()) out = zero(type);  // null leaves what is there
    }
  }

  void mismatch(const schema& type, json& out, size_t& at) {
    const char c = text_[at];
    const auto begin = at;
    at = value_end(text_, at);
    std::string what;
    if (c == '{')
      what = "object";
    else if (c == '[')
      what = "array";
    else if (c == '"')
      what = "string";
    else if (c == 't' || c == 'f')
      what = "bool";
    else if (type.kind == kind::integer || type.kind == kind::floating)
      what = "number " + std::string(text_.substr(begin, at - begin));
    else
      what = "number";
    if (out.is_null()) out = zero(type);
    complain(what, type.go_name);
  }

  void complain(const std::string& what, const std::string& go_name) {
    if (!error_.empty()) return;
    std::string target = "Go value";
    if (!path_.empty()) {
      target = "Go struct field " + struct_;
      for (const auto& name : path_) target += "." + std::string(name);
    }
    error_ = "json: cannot unmarshal " + what + " into " + target + " of type " + go_name;
  }

  void object(const schema& type, json& out, size_t& at) {
    if (!out.is_object()) out = zero(type);
    fields(type, out, at);
  }

  void fields(const schema& type, json& out, size_t& at) {
    const auto outer = struct_;
    for_each_member(at, [&](const std::string& key) {
      const auto* f = find_field(type, key);
      if (f == nullptr) {
        at = value_end(text_, at);
        return;
      }
      const std::string_view full = type.go_name;
      struct_ = full.substr(full.rfind('.') + 1);
      path_.push_back(f->name);
      value(*f->type, out[f->name], at);
      path_.pop_back();
    });
    struct_ = outer;
  }

  void map(const schema& type, json& out, size_t& at) {
    if (!out.is_object()) out = json::object();
    for_each_member(at, [&](const std::string& key) {
      json element = zero(*type.element);
      value(*type.element, element, at);
      out[key] = std::move(element);
    });
  }

  template <class Member>
  void for_each_member(size_t& at, Member member) {
    ++at;
    while (true) {
      at = skip_space(text_, at);
      if (text_[at] == '}') break;
      if (text_[at] == ',') {
        ++at;
        continue;
      }
      const auto end = string_end(text_, at);
      const auto key = unquote(text_.substr(at, end - at));
      at = skip_space(text_, end) + 1;  // ':'
      member(key);
    }
    ++at;
  }

  template <class Element>
  void for_each_element(size_t& at, Element element) {
    ++at;
    while (true) {
      at = skip_space(text_, at);
      if (text_[at] == ']') break;
      if (text_[at] == ',') {
        ++at;
        continue;
      }
      element();
    }
    ++at;
  }

  // A key that comes twice is decoded over what the first left, element by element, as in Go.
  void slice(const schema& type, json& out, size_t& at) {
    const json earlier = std::move(out);
    out = json::array();
    for_each_element(at, [&] {
      json element = earlier.is_array() && out.size() < earlier.size() ? earlier[out.size()] : zero(*type.element);
      value(*type.element, element, at);
      out.push_back(std::move(element));
    });
  }

  void array(const schema& type, json& out, size_t& at) {
    out = zero(type);
    size_t index = 0;
    for_each_element(at, [&] {
      if (index < type.length)
        value(*type.element, out[index++], at);
      else
        at = value_end(text_, at);
    });
  }

  // strslice.StrSlice.UnmarshalJSON: a list of strings, else one string. In Go its error ends the decoding at once, so
  // it takes the place of an earlier one.
  void string_list(json& out, size_t& at) {
    const auto begin = at;
    const char c = text_[at];
    if (c == '"') {
      json one;
      value(string_type, one, at);
      out = json::array({std::move(one)});
      return;
    }
    if (c == '[') {
      decoder inner(text_);
      inner.slice(string_slice, out, at);
      if (inner.error_.empty()) return;
    }
    at = value_end(text_, begin);
    out = nullptr;
    if (ended_) return;
    error_.clear();
    complain(c == '{' ? "object" : c == '[' ? "array" : c == 't' || c == 'f' ? "bool" : "number", "string");
    ended_ = true;
  }

  void number(const schema& type, json& out, size_t& at) {
    const char c = text_[at];
    if (c != '-' && (c < '0' || c > '9')) return mismatch(type, out, at);
    const auto begin = at;
    const auto end = value_end(text_, at);
    const auto literal = text_.substr(begin, end - begin);
    const auto read = [&](auto v) {
      const auto [p, error] = std::from_chars(literal.data(), literal.data() + literal.size(), v);
      const bool whole = error == std::errc() && p == literal.data() + literal.size();
      if (whole) out = v;
      return whole;
    };
    bool good = false;
    if (type.kind == kind::floating) {
      double v = 0;
      const auto [p, error] = std::from_chars(literal.data(), literal.data() + literal.size(), v);
      good = error == std::errc() && p == literal.data() + literal.size() && std::isfinite(v);
      if (good) out = v;
    } else if (type.is_signed) {
      good = type.bits == 64 ? read(int64_t{}) : read(int32_t{});
    } else {
      good = type.bits == 64 ? read(uint64_t{}) : type.bits == 32 ? read(uint32_t{}) : read(uint16_t{});
    }
    if (!good) return mismatch(type, out, at);
    at = end;
  }

  std::string_view text_;
  std::string error_;
  bool ended_ = false;
  std::string struct_;
  std::vector<std::string_view> path_;
};

// Finds the value in a request body as json.Decoder does, with httputils' complaints.
result<size_t> locate(std::string_view body, empty_body empty, bool& nothing) {
  nothing = body.empty() && empty == empty_body::zero;
  if (nothing) return size_t{0};
  const auto found = scan_value(body);
  if (found.empty) return fail(errc::invalid_argument, "invalid JSON: got EOF while reading request body");
  if (found.truncated) return fail(errc::invalid_argument, "invalid JSON: unexpected EOF");
  if (!found.error.empty()) return fail(errc::invalid_argument, "invalid JSON: " + found.error);
  return found.begin;
}

// json.Decoder.More: what follows the value counts unless it closes something.
result<void> check_rest(std::string_view body, size_t end) {
  const auto rest = skip_space(body, end);
  if (rest < body.size() && body[rest] != ']' && body[rest] != '}')
    return fail(errc::invalid_argument, "unexpected content after JSON");
  return {};
}

}  // namespace

json zero(const schema& type) {
  switch (type.kind) {
    case kind::string:
      return "";
    case kind::boolean:
      return false;
    case kind::integer:
      return 0;
    case kind::floating:
      return 0.0;
    case kind::array: {
      auto out = json::array();
      for (size_t i = 0; i < type.length; ++i) out.push_back(zero(*type.element));
      return out;
    }
    case kind::object: {
      auto out = json::object();
      for (const auto& f : type.fields) out[f.name] = zero(*f.type);
      return out;
    }
    default:
      return nullptr;
  }
}

void fill(json& value, const schema& type) {
  for (const auto& f : type.fields)
    if (!value.contains(f.name)) value[f.name] = zero(*f.type);
}

result<json> decode(std::string_view body, const schema& type, empty_body empty) {
  bool nothing = false;
  ARCA_TRY(begin, locate(body, empty, nothing));
  json out = zero(type);
  if (nothing) return out;
  decoder reader(body);
  size_t at = begin;
  reader.value(type, out, at);
  if (!reader.error().empty()) return fail(errc::invalid_argument, "invalid JSON: " + reader.error());
  ARCA_CHECK(check_rest(body, at));
  return out;
}

result<json> decode_present(std::string_view body, const schema& type, empty_body empty) {
  bool nothing = false;
  ARCA_TRY(begin, locate(body, empty, nothing));
  json out = json::object();
  if (nothing) return out;
  decoder reader(body);
  size_t at = begin;
  reader.present(type, out, at);
  if (!reader.error().empty()) return fail(errc::invalid_argument, "invalid JSON: " + reader.error());
  ARCA_CHECK(check_rest(body, at));
  return out;
}

result<json> unmarshal(std::string_view text, const schema& type) {
  const auto found = scan_value(text);
  if (found.empty || found.truncated) return fail(errc::invalid_argument, "unexpected end of JSON input");
  if (!found.error.empty()) return fail(errc::invalid_argument, found.error);
  if (const auto rest = skip_space(text, found.end); rest < text.size())
    return fail(errc::invalid_argument, invalid_character(text, rest, "after top-level value"));
  json out = zero(type);
  decoder reader(text);
  size_t at = found.begin;
  reader.value(type, out, at);
  if (!reader.error().empty()) return fail(errc::invalid_argument, reader.error());
  return out;
}

}  // namespace go
}  // namespace arca::model
