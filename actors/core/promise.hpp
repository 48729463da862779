// CAF 0.17's typed_response_promise<void> cannot be fulfilled through its own interface (its check compares void with
// unit_t): this is the one place that knows how.
#pragma once
#include <caf/response_promise.hpp>
#include <caf/typed_response_promise.hpp>

namespace arca {
inline void deliver_ok(caf::typed_response_promise<void>& promise) {
  static_cast<caf::response_promise&>(promise).deliver(caf::unit);
}
}  // namespace arca
