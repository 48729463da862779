// POST /auth: docker login. The registry is asked on the blocking pool; nothing is kept, the client stores what it
// sent.
#include "persistence/registry/login.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "http/handlers/common.hpp"

namespace asio = boost::asio;

namespace arca::http {
namespace {

// Runs `work` on the pool and comes back to this io thread.
awaitable<result<void>> on_pool(blocking_pool& pool, asio::any_io_executor executor,
                                std::function<result<void>()> work) {
  return asio::async_initiate<const asio::use_awaitable_t<>, void(result<void>)>(
      [&pool, executor = std::move(executor)]<class Handler>(Handler&& handler,
                                                             std::function<result<void>()> blocking) {
        auto resume = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
        pool.post([resume, executor, blocking = std::move(blocking)] {
          asio::post(executor, [resume, outcome = blocking()]() mutable { std::move (*resume)(std::move(outcome)); });
        });
      },
      asio::use_awaitable, std::move(work));
}

}  // namespace

awaitable<response> auth(call& c) {
  auto body = co_await c.read_body(largest_json_body);
  if (!body) co_return failed(errc::internal, body.error().message());
  if (body->empty()) co_return failed(errc::internal, "EOF");
  const auto config = model::go::unmarshal(*body, model::go::auth_config);
  if (!config) {  // Docker answers these with 500
    const auto& text = config.error().message();
    co_return failed(errc::internal, text == "unexpected end of JSON input" ? "unexpected EOF" : text);
  }
  registry::client_options options;
  options.registries = engine_of(c).context().config.registries;
  const auto stop = std::make_shared<registry::stop_signal>();
  c.on_gone([stop] { stop->request(); });
  const auto checked = co_await on_pool(*engine_of(c).context().pool, co_await asio::this_coro::executor,
                                        [stop, options, who = registry::parse_credentials(*body),
                                         server = config->value("serveraddress", std::string())] {
                                          return registry::check_login(options, server, who, *stop);
                                        });
  if (!checked) co_return error_response(checked.error());
  co_return response::json(200, R"({"IdentityToken":"","Status":"Login Succeeded"})");
}

}  // namespace arca::http
