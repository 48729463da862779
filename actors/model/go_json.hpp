// Request bodies as Go's encoding/json reads them into Docker's structs: keys match without regard to case, unknown keys
// are ignored, null leaves the zero value, the last duplicate wins, and errors have Go's words. A schema (table of
// fields) names the struct; the result is a JSON value that has every field of the struct, as Docker would print it.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::model {

/// Object keys keep the order in which the struct declares them.
using json = nlohmann::json;

namespace go {
struct schema;  // go_schema.hpp

/// Which of Docker's wrappers reads the body.
enum class body_style : uint8_t {
  strict,   ///< "invalid JSON: …"; content after the value is an error (httputils.ReadJSON, create)
  lenient,  ///< as strict, but an empty body is the zero value
};

/// Parses and decodes one value. Errors are errc::invalid_argument with the whole message that Docker answers:
/// "invalid JSON: unexpected EOF", "invalid JSON: json: cannot unmarshal number into Go struct field … of type string",
/// "invalid JSON: got EOF while reading request body", "unexpected content after JSON".
result<json> decode(std::string_view text, const schema& type, body_style style = body_style::strict);

/// Only Go's own error text without a prefix (json.Unmarshal): filters, X-Registry-Auth, `changes`.
result<json> unmarshal(std::string_view text, const schema& type);

/// Go's json.Unmarshal into interface{}: any valid JSON, Go's syntax errors otherwise.
result<json> unmarshal_any(std::string_view text);
}  // namespace go

/// Compact text; bytes that are no UTF-8 become U+FFFD, as Go prints them. Never throws.
std::string dump(const json& value);
/// Parses our own documents; errc::internal when they are broken.
result<json> parse_document(std::string_view text);

}  // namespace arca::model
