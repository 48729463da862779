// Networks. What would change the networks of a container that exists is not supported yet and says so.
#include <nlohmann/json.hpp>

#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "http/handlers/common.hpp"

namespace arca::http {
namespace {

const network_manager_actor& manager(call& c) {
  return engine_of(c).context().networks;
}

awaitable<result<found_network>> network_named(call& c) {
  find_network m;
  m.name = c.req.param;
  co_return co_await ask_with_deadline(c, manager(c), std::move(m));
}

// A request for a network that must exist, and a body of that type.
awaitable<response> refuse_change(call& c, const model::go::schema& type, std::string_view what) {
  const auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  if (const auto decoded = model::go::decode(*body, type); !decoded) co_return error_response(decoded.error());
  if (const auto found = co_await network_named(c); !found) co_return error_response(found.error());
  co_return unsupported(what);
}

}  // namespace

awaitable<response> network_list(call& c) {
  list_networks m;
  m.filters = c.req.query.get("filters");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> network_inspect(call& c) {
  inspect_network m;
  m.name = c.req.param;
  m.verbose = c.req.query.flag("verbose");
  m.scope = c.req.query.get("scope");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> network_create(call& c) {
  const auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  const auto decoded = model::go::decode(*body, model::go::network_create);
  if (!decoded) co_return error_response(decoded.error());
  create_network m;
  m.request = decoded->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)), 201);
}

awaitable<response> network_remove(call& c) {
  remove_network m;
  m.name = c.req.param;
  co_return done(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> network_connect(call& c) {
  co_return co_await refuse_change(c, model::go::network_connect, "connecting a container to another network is");
}
awaitable<response> network_disconnect(call& c) {
  co_return co_await refuse_change(c, model::go::network_disconnect, "disconnecting a container from its network is");
}

awaitable<response> network_prune(call& c) {
  prune_networks m;
  m.filters = c.req.query.get("filters");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

}  // namespace arca::http
