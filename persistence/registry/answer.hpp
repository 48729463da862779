// What a registry's error answers mean (the distribution protocol's error codes).
#pragma once
#include "persistence/registry/http.hpp"

namespace arca::registry {

/// Reads an answer with status 400 or more to its end and says what it is, in the words of Docker's client.
failure answer_failure(http_response& answer);

/// "MANIFEST_UNKNOWN" → "manifest unknown: MESSAGE" with the kind of error it is.
failure protocol_failure(std::string code, std::string message);

}  // namespace arca::registry
