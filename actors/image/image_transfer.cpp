#include "actors/image/image_transfer.hpp"

#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "persistence/registry/http.hpp"

namespace arca {
namespace {
constexpr size_t save_piece = 64u << 10;
}

archive::byte_source source_of_channel(std::shared_ptr<byte_channel> input) {
  struct state {
    std::shared_ptr<byte_channel> channel;
    batch pieces;
    size_t next = 0;
  };
  auto s = std::make_shared<state>();
  s->channel = std::move(input);
  return [s]() -> result<std::string_view> {
    if (s->channel == nullptr) return std::string_view();
    if (s->next == s->pieces.size()) {
      s->pieces = s->channel->read_blocking();
      s->next = 0;
      if (s->pieces.empty()) {
        if (auto why = s->channel->failure()) return fail(*why);
        if (s->channel->aborted()) return fail(errc::cancelled, "context canceled");
        s->channel = nullptr;
        return std::string_view();
      }
    }
    return std::string_view(*s->pieces[s->next++]);
  };
}

result<archive::byte_source> source_of_url(const std::string& address) {
  constexpr int max_redirects = 10;
  struct download {
    registry::stop_signal stop;
    registry::http_pool pool{"arca", stop};
    std::unique_ptr<registry::http_response> answer;
  };
  // Docker prefixes what is no URL with http://
  const auto text = address.find("://") == std::string::npos ? "http://" + address : address;
  const auto failed = [&](const std::string& why) {
    return fail(errc::internal, "Get " + go_quote(text) + ": " + why);
  };
  auto to = registry::parse_url(text);
  if (!to) return failed(to.error().message());
  auto d = std::make_shared<download>();
  for (int hops = 0;; ++hops) {
    registry::http_request request;
    request.to = *to;
    auto answer = d->pool.send(request, {});
    if (!answer) return fail(answer.error().what);
    const int status = (*answer)->status();
    const auto location = (*answer)->header("Location");
    if (status >= 300 && status < 400 && !location.empty()) {
      if (hops == max_redirects) return failed("stopped after 10 redirects");
      auto next = registry::resolve_url(*to, location);
      if (!next) return failed(next.error().message());
      to = std::move(next);
      continue;
    }
    if (status >= 400) return fail(errc::internal, "got HTTP status code >= 400: " + (*answer)->status_text());
    d->answer = std::move(*answer);
    break;
  }
  return [d]() -> result<std::string_view> {
    auto piece = d->answer->read();
    if (!piece) return fail(piece.error().what);
    return *piece;
  };
}

result<std::vector<images::loaded_image>> load_archive(images::layer_store& layers, std::shared_ptr<byte_channel> input,
                                                       const images::platform& wanted,
                                                       std::shared_ptr<progress_output> output) {
  images::load_options options;
  options.wanted = wanted;
  if (output)
    options.on_progress = [output](const images::load_progress& p) {
      output->bytes(p.layer, "Loading layer", static_cast<int64_t>(p.current), static_cast<int64_t>(p.total));
    };
  return images::load(layers, source_of_channel(std::move(input)), options);
}

void save_archive(const images::layer_store& layers, const std::vector<images::saved_image>& what,
                  std::shared_ptr<byte_channel> output) {
  std::string held;  // tar headers are small: collect before a client is woken
  const auto flush = [&]() -> result<void> {
    if (!held.empty() && !output->push_blocking(std::exchange(held, {})))
      return fail(errc::cancelled, "context canceled");
    return {};
  };
  auto done = images::save(layers, what, [&](std::string_view bytes) -> result<void> {
    held += bytes;
    return held.size() < save_piece ? result<void>() : flush();
  });
  if (done) done = flush();
  if (done) {
    output->close();
    return;
  }
  if (done.error().code() != errc::cancelled)
    log::warn("saving images failed", log::kv("error", done.error().message()));
  output->close(done.error());
}

}  // namespace arca
