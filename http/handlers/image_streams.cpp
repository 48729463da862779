// pull, import, load and save: archives and progress lines.
#include <openssl/evp.h>

#include <algorithm>

#include "actors/streams/byte_channel.hpp"
#include "http/handlers/common.hpp"

namespace arca::http {
namespace {

engine_context& context(call& c) {
  return engine_of(c).context();
}

// The JSON of X-Registry-Auth; empty for what is no base64, as Docker ignores it.
std::string registry_auth(std::string_view header) {
  std::string text(header);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  size_t padding = 0;
  while (!text.empty() && text.back() == '=') {
    text.pop_back();
    ++padding;
  }
  while (text.size() % 4 != 0) text += '=';
  if (text.empty() || padding > 2 || text.size() > (64u << 10)) return {};
  std::string out(text.size() / 4 * 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return {};
  const auto filler = std::count(text.end() - 3, text.end(), '=');
  out.resize(static_cast<size_t>(n) - static_cast<size_t>(filler));
  return out;
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
  load_images m;
  m.quiet = c.req.query.flag_or("quiet", true);
  m.platform = c.req.query.get("platform");
  m.input = open_input(c);
  co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)),
                                 response::json(200, ""));
}

awaitable<response> image_save(call& c) {
  save_images m;
  m.references = c.req.param.empty() ? c.req.query.all("names") : std::vector<std::string>{c.req.param};
  m.platform = c.req.query.get("platform");
  co_return co_await send_stream(c, co_await ask_with_deadline(c, context(c).images, std::move(m)), tar_head());
}

}  // namespace arca::http
