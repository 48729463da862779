#include "actors/image/image_transfer.hpp"

#include "persistence/base/log.hpp"

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
    if (!held.empty() && !output->push_blocking(std::exchange(held, {}))) return fail(errc::cancelled, "context canceled");
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
  if (done.error().code() != errc::cancelled) log::warn("saving images failed", log::kv("error", done.error().message()));
  output->close(done.error());
}

}  // namespace arca
