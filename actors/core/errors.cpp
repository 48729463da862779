#include "actors/core/errors.hpp"

#include <caf/make_message.hpp>
#include <caf/sec.hpp>

namespace arca {

caf::error to_caf(const error& e) {
  return caf::make_error(e.code(), e.message());
}

error from_caf(const caf::error& e) {
  if (!e) return {errc::internal, "an error without a cause"};  // CAF's accessors cannot be asked
  if (e.category() == caf::atom("arca")) {
    const auto& context = e.context();
    return {static_cast<errc>(e.code()), context.match_elements<std::string>() ? context.get_as<std::string>(0) : ""};
  }
  if (e == caf::sec::request_timeout) return {errc::timeout, "the engine did not answer in time"};
  if (e == caf::sec::request_receiver_down) return {errc::unavailable, "the engine part that was asked has just ended"};
  return {errc::internal, "actor error " + std::to_string(e.code())};
}

}  // namespace arca
