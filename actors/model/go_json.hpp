// Request bodies as Go's encoding/json reads them into Docker's structs: keys match without regard to case, unknown
// keys are ignored, null leaves the zero value, the last duplicate wins, and errors have Go's words. A schema
// (go_schema.hpp) names the struct; the result is a JSON value that has every field of it. marshal() is the way back.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

using json = nlohmann::json;

namespace go {
struct schema;

/// What an empty body means.
enum class empty_body : uint8_t {
  error,  ///< "invalid JSON: got EOF while reading request body" (create)
  zero,   ///< the zero value (httputils.ReadJSON: exec, update, volumes, networks …)
};

/// Decodes a request body. Errors are errc::invalid_argument with the whole message that Docker answers:
/// "invalid JSON: unexpected EOF", "invalid JSON: json: cannot unmarshal number into Go struct field … of type string",
/// "unexpected content after JSON".
result<json> decode(std::string_view body, const schema& type, empty_body empty = empty_body::zero);

/// Go's json.Unmarshal, its error texts without a prefix: filters, X-Registry-Auth, `changes`.
result<json> unmarshal(std::string_view text, const schema& type);

/// The zero value of a Go type: every field, null for nil slices, maps and pointers.
json zero(const schema& type);

/// decode() for the body that Docker embeds a pointer in: fields that no key named are absent from the answer.
result<json> decode_present(std::string_view body, const schema& type, empty_body empty);
/// Adds the zero value of every absent field.
void fill(json& value, const schema& type);

/// Go's json.Marshal (without HTML escaping): fields in the order of the struct, `omitempty` applied.
std::string marshal(const json& value, const schema& type);
void append_marshal(std::string& out, const json& value, const schema& type);
/// A JSON string literal as Go writes it; bytes that are no UTF-8 become \ufffd.
void append_string(std::string& out, std::string_view text);
}  // namespace go

/// Compact text of any value; bytes that are no UTF-8 become U+FFFD. Never throws.
std::string dump(const json& value);
/// Parses one of our own documents; errc::internal when it is broken.
result<json> parse_document(std::string_view text);

}  // namespace arca::model
