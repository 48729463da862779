// What Arca does not do, in Docker's words where Docker has some.
#include "actors/model/filters.hpp"
#include "http/handlers/common.hpp"

namespace arca::http {
namespace {

// A container that does not exist is a 404 before anything else.
response refuse_for_container(call& c, std::string_view what) {
  const auto found = container_named(c);
  return found ? unsupported(what) : error_response(found.error());
}

}  // namespace

awaitable<response> no_swarm_manager(call&) {
  co_return failed(
      errc::unavailable,
      "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node "
      "to swarm and try again.");
}
awaitable<response> no_swarm(call&) {
  co_return failed(errc::unavailable, "This node is not part of a swarm");
}
awaitable<response> swarm_unsupported(call&) {
  co_return failed(errc::unsupported, "swarm mode is not supported by Arca");
}

awaitable<response> plugin_list(call&) {
  co_return response::json(200, "[]");
}
awaitable<response> plugin_unknown(call& c) {
  co_return failed(errc::not_found, "plugin \"" + c.req.param + "\" not found");
}
awaitable<response> plugins_unsupported(call&) {
  co_return failed(errc::unsupported, "plugins are not supported by Arca");
}

awaitable<response> checkpoints_unsupported(call&) {
  co_return failed(
      errc::unsupported,
      "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order "
      "to enable it.");
}

awaitable<response> build_unsupported(call&) {
  co_return unsupported("building images is");
}
awaitable<response> commit_unsupported(call& c) {
  const auto found = engine_of(c).containers()->find(c.req.query.get("container"));
  co_return found ? unsupported("docker commit is") : error_response(found.error());
}
awaitable<response> archive_unsupported(call& c) {
  co_return refuse_for_container(c, "copying files into and out of containers (docker cp) is");
}
awaitable<response> changes_unsupported(call& c) {
  co_return refuse_for_container(c, "docker diff is");
}
awaitable<response> export_unsupported(call& c) {
  co_return refuse_for_container(c, "docker export is");
}
awaitable<response> websocket_unsupported(call& c) {
  co_return refuse_for_container(c, "attaching by WebSocket is");
}
// The values are checked as Docker does.
awaitable<response> search_unsupported(call& c) {
  static constexpr std::string_view accepted[] = {"is-automated", "is-official", "stars"};
  if (const auto& limit = c.req.query.get("limit"); !limit.empty()) {
    const auto number = go_atoi(limit);
    if (!number) co_return failed(errc::invalid_argument, "invalid limit specified: " + number.error().message());
    if (*number != 0 && (*number < 1 || *number > 100))
      co_return failed(errc::invalid_argument, "limit " + limit + " is outside the range of [1, 100]");
  }
  const auto filters = model::filters::parse(c.req.query.get("filters"));
  if (!filters) co_return error_response(filters.error());
  if (const auto good = filters->validate(accepted); !good) co_return error_response(good.error());
  for (const auto* key : {"is-automated", "is-official"})
    if (const auto flag = filters->get_bool(key, false); !flag) co_return error_response(flag.error());
  for (const auto& stars : filters->get("stars"))
    if (const auto number = go_atoi(stars); !number)
      co_return failed(errc::invalid_argument, "invalid filter 'stars=" + stars + "': " + number.error().message());
  co_return unsupported("searching for images is");
}
awaitable<response> push_unsupported(call&) {
  co_return unsupported("pushing images is");
}
awaitable<response> distribution_unsupported(call&) {
  co_return unsupported("looking at images of a registry is");
}

}  // namespace arca::http
