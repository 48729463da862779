#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/utf8.hpp"

namespace arca::model {
namespace go {

void append_string(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\b':
          out += "\\b";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        default:
          if (c < 0x20) {
            out += "\\u00";
            out += digits[c >> 4];
            out += digits[c & 15];
          } else {
            out += static_cast<char>(c);
          }
      }
      ++i;
      continue;
    }
    const auto n = utf8_length(text, i);
    if (n == 0) {
      out += "\\ufffd";
      ++i;
    } else if (const auto sequence = text.substr(i, n); sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9") {
      out += sequence == "\xe2\x80\xa8" ? "\\u2028" : "\\u2029";
      i += n;
    } else {
      out += sequence;
      i += n;
    }
  }
  out += '"';
}

namespace {
bool omitted(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return true;
    case json::value_t::boolean:
      return !value.get<bool>();
    case json::value_t::string:
      return value.get_ref<const std::string&>().empty();
    case json::value_t::number_integer:
      return value.get<int64_t>() == 0;
    case json::value_t::number_unsigned:
      return value.get<uint64_t>() == 0;
    case json::value_t::array:
    case json::value_t::object:
      return value.empty();
    default:
      return false;
  }
}

template <class Range, class Write>
void append_list(std::string& out, const Range& range, Write write) {
  bool first = true;
  for (const auto& element : range) {
    if (!first) out += ',';
    first = false;
    write(element);
  }
}
}  // namespace

void append_marshal(std::string& out, const json& value, const schema& type) {
  if (type.kind == kind::pointer && !value.is_null()) return append_marshal(out, value, *type.element);
  if (value.is_string()) return append_string(out, value.get_ref<const std::string&>());
  if (value.is_array()) {
    const auto& element = type.kind == kind::string_list ? string_type : type.element != nullptr ? *type.element : type;
    out += '[';
    append_list(out, value, [&](const json& e) { append_marshal(out, e, element); });
    out += ']';
    return;
  }
  if (value.is_object() && type.kind == kind::object) {
    out += '{';
    bool first = true;
    for (const auto& f : type.fields) {
      const auto found = value.find(f.name);
      const bool absent = found == value.end();
      // A pointer to a zero value is shown; only nil is omitted.
      if (f.omit_empty && (absent || (f.type->kind == kind::pointer ? found->is_null() : omitted(*found)))) continue;
      if (!first) out += ',';
      first = false;
      append_string(out, f.name);
      out += ':';
      append_marshal(out, absent ? zero(*f.type) : *found, *f.type);
    }
    out += '}';
    return;
  }
  if (value.is_object()) {
    const auto& element = type.kind == kind::map ? *type.element : type;
    out += '{';
    append_list(out, value.items(), [&](const auto& item) {
      append_string(out, item.key());
      out += ':';
      append_marshal(out, item.value(), element);
    });
    out += '}';
    return;
  }
  out += dump(value);
}

std::string marshal(const json& value, const schema& type) {
  std::string out;
  append_marshal(out, value, type);
  return out;
}

}  // namespace go

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

result<json> parse_document(std::string_view text) {
  auto value = json::parse(text.begin(), text.end(), nullptr, false);
  if (value.is_discarded()) return fail(errc::internal, "a stored document is not valid JSON");
  return value;
}

}  // namespace arca::model
