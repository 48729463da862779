// Networks. Only bridge, host and none exist yet; what would change that says so.
#include "actors/model/filters.hpp"
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
  co_return unsupported("networks of the user (docker network create) are");
}

awaitable<response> network_remove(call& c) {
  const auto found = co_await network_named(c);
  if (!found) co_return error_response(found.error());
  co_return failed(errc::forbidden, found->name + " is a pre-defined network and cannot be removed");
}

awaitable<response> network_connect(call& c) {
  co_return co_await refuse_change(c, model::go::network_connect, "connecting a container to another network is");
}
awaitable<response> network_disconnect(call& c) {
  co_return co_await refuse_change(c, model::go::network_disconnect, "disconnecting a container from its network is");
}

// The built-in networks are never pruned, and there are no others.
awaitable<response> network_prune(call& c) {
  static constexpr std::string_view accepted[] = {"label", "label!", "until"};
  const auto filters = model::filters::parse(c.req.query.get("filters"));
  if (!filters) co_return error_response(filters.error());
  if (const auto good = filters->validate(accepted); !good) co_return error_response(good.error());
  bool given = false;
  if (const auto until = model::until_filter(*filters, 0, given); !until) co_return error_response(until.error());
  co_return response::json(200, R"({"NetworksDeleted":null})");
}

}  // namespace arca::http
