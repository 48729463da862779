// X-Registry-Auth: who pulls.
#pragma once
#include <string>
#include <string_view>

namespace arca::http {

/// The JSON in the header's URL-safe base64 with padding, every field by its usual name. Empty for what cannot be read:
/// Docker Engine goes on as nobody then.
std::string registry_auth(std::string_view header);

}  // namespace arca::http
