#include "http/handlers/common.hpp"

#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view{}
                                         : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

result<container_entry> container_named(call& c) {
  return engine_of(c).containers()->find(c.req.param);
}

result<void> check_json_type(const request& r) {
  const auto given = r.headers.get("Content-Type");
  if (given.empty() && r.content_length == 0) return {};
  const std::string_view given_view = given;
  const auto type = lower(trimmed(given_view.substr(0, given_view.find(';'))));
  if (type.empty())
    return fail(errc::invalid_argument,
                "malformed Content-Type header (" + std::string(given) + "): mime: no media type");
  if (type != "application/json")
    return fail(errc::invalid_argument,
                "unsupported Content-Type header (" + std::string(given) + "): must be 'application/json'");
  return {};
}

awaitable<result<std::string>> json_body(call& c) {
  if (auto typed = check_json_type(c.req); !typed) co_return fail(std::move(typed).error());
  if (c.req.content_length == 0) co_return std::string();
  auto body = co_await c.read_body(largest_json_body);
  if (!body) co_return fail(body.error().wrap("invalid JSON"));
  // Docker decodes whatever may have come without a length; only a body known to be empty it takes for none.
  if (body->empty()) co_return fail(errc::invalid_argument, "invalid JSON: got EOF while reading request body");
  co_return body;
}

response done(const result<void>& r) {
  return r ? response::empty(204) : error_response(r.error());
}

response document(result<json_document> d, int status) {
  return d ? response::json(status, std::move(d->text)) : error_response(d.error());
}

response unsupported(std::string_view what) {
  return error_response(error(errc::unsupported, std::string(what) + " not supported by Arca yet"));
}

response failed(errc code, std::string message) {
  return error_response(error(code, std::move(message)));
}

}  // namespace arca::http
