// arca::error <-> caf::error: a CAF error of category "arca" carries the message text.
#pragma once
#include <caf/error.hpp>

#include "actors/protocol/message.hpp"

namespace arca {
caf::error to_caf(const error& e);
/// Errors of CAF itself (receiver down, request timeout …) become internal, unavailable or timeout.
error from_caf(const caf::error& e);

inline caf::error caf_error(errc code, std::string message) {
  return to_caf({code, std::move(message)});
}
}  // namespace arca
