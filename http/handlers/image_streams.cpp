// pull, import, load and save: archives and progress lines.
#include "actors/streams/byte_channel.hpp"
#include "http/handlers/common.hpp"
#include "http/handlers/registry_auth.hpp"

namespace arca::http {
namespace {

engine_context& context(call& c) {
  return engine_of(c).context();
}

// The request's body as a stream of the engine.
stream_id open_input(call& c) {
  auto input = std::make_shared<byte_channel>();
  c.pump_body(input);
  return context(c).streams->put({nullptr, std::move(input)});
}

// Sends the engine's output stream as the answer; what fails on the way is in the stream or cuts it off.
awaitable<response> send_stream(call& c, result<stream_id> id, response head) {
  if (!id) co_return error_response(id.error());
  auto opened = context(c).streams->take(*id);
  if (!opened) co_return failed(errc::internal, "the stream of the answer has gone");
  if (!co_await c.start(std::move(head))) opened->output->abort();
  const auto copied = co_await c.copy(opened->output);
  co_return copied ? response::sent() : response::broken();
}

result<std::string> one_platform(call& c) {
  if (c.req.query.all("platform").size() > 1)
    return fail(errc::invalid_argument, "multiple platform parameters not supported");
  return c.req.query.get("platform");
}

response tar_head() {
  auto head = response::empty(200);
  head.content_type = "application/x-tar";
  return head;
}

}  // namespace

awaitable<response> image_create(call& c) {
  const auto& q = c.req.query;
  if (const auto& image = q.get("fromImage"); !image.empty()) {
    pull_image m;
    m.reference = image;
    m.tag = q.get("tag");
    if (!c.req.version.before(32)) m.platform = q.get("platform");
    m.registry_auth = registry_auth(c.req.headers.get("X-Registry-Auth"));
    co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)),
                                   response::json(200, ""));
  }
  import_image m;
  m.source = q.get("fromSrc");
  m.repository = q.get("repo");
  m.tag = q.get("tag");
  m.message = q.get("message");
  m.platform = q.get("platform");
  m.changes = q.all("changes");
  if (m.source == "-") m.input = open_input(c);
  co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)),
                                 response::json(200, ""));
}

awaitable<response> image_load(call& c) {
  auto platform = one_platform(c);
  if (!platform) co_return error_response(platform.error());
  load_images m;
  m.quiet = c.req.query.flag_or("quiet", true);
  m.platform = std::move(*platform);
  m.input = open_input(c);
  co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)),
                                 response::json(200, ""));
}

awaitable<response> image_save(call& c) {
  auto platform = one_platform(c);
  if (!platform) co_return error_response(platform.error());
  save_images m;
  m.references = c.req.param.empty() ? c.req.query.all("names") : std::vector<std::string>{c.req.param};
  m.platform = std::move(*platform);
  co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)), tar_head());
}

}  // namespace arca::http
