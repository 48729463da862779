// What most handlers need.
#pragma once
#include "actors/core/ask.hpp"
#include "actors/protocol/image.hpp"
#include "http/errors.hpp"
#include "http/handlers/handlers.hpp"
#include "http/handlers/services.hpp"

namespace arca::http {

inline constexpr size_t largest_json_body = 64u << 20;

/// Asks with the deadline of the route.
template <class Handle, class Message>
auto ask_with_deadline(call& c, const Handle& to, Message message) {
  return ask(c.port(), Handle(to), ask_options{.deadline = c.deadline}, std::move(message));
}
/// The same for managers whose handler is short: it runs on this io thread.
template <class Handle, class Message>
auto ask_here(call& c, const Handle& to, Message message) {
  return ask(c.port(), Handle(to), ask_options{.deadline = c.deadline, .on_this_thread = true}, std::move(message));
}

/// The container that the route's {name} names.
result<container_entry> container_named(call& c);
/// Docker's CheckForJSON: "unsupported Content-Type header (x): must be 'application/json'".
result<void> check_json_type(const request& r);
/// check_json_type, then the body; empty when there is none.
awaitable<result<std::string>> json_body(call& c);

/// 204, or the error.
response done(const result<void>& r);
/// 200 with the document, or the error.
response document(result<json_document> d, int status = 200);
/// 501 with "WHAT is not supported by Arca yet".
response unsupported(std::string_view what);
response failed(errc code, std::string message);

}  // namespace arca::http
