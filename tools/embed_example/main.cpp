// Arca as a library: the engine inside a caf::actor_system of our own runs a container from an image archive, without
// HTTP.
//   embed_example DATA_ROOT ARCHIVE IMAGE COMMAND...
#include <fcntl.h>
#include <unistd.h>

#include <caf/all.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "actors/core/ask.hpp"
#include "actors/engine.hpp"
#include "actors/model/create.hpp"
#include "actors/streams/byte_channel.hpp"
#include "persistence/base/fs.hpp"

using namespace arca;
using namespace std::chrono_literals;

namespace {

result<void> load(caf::actor_system& system, engine_context& ctx, const char* archive) {
  ARCA_TRY(file, fs::open(archive, O_RDONLY));
  stream input;
  input.input = std::make_shared<byte_channel>();
  load_images request;
  request.input = ctx.streams->put(input);
  request.quiet = true;
  ARCA_TRY(answer, ask_sync(system, ctx.images, 60s, std::move(request)));
  auto output = ctx.streams->take(answer);
  std::string buffer(64 << 10, '\0');
  for (ssize_t n = 0; (n = ::read(file.get(), buffer.data(), buffer.size())) > 0;)
    if (!input.input->push_blocking(buffer.substr(0, static_cast<size_t>(n)))) break;
  input.input->close();
  while (output && !output->output->read_blocking().empty()) continue;
  return {};
}

result<int> run(caf::actor_system& system, engine& e, const char* archive, const char* image, char** command) {
  auto& ctx = e.context();
  ARCA_CHECK(load(system, ctx, archive));
  nlohmann::json body = {{"Image", image}, {"AttachStdout", true}, {"HostConfig", {{"NetworkMode", "none"}}}};
  for (; *command != nullptr; ++command) body["Cmd"].push_back(*command);
  ARCA_TRY(decoded, model::decode_create(body.dump(), {}));
  create_container create;
  create.body = decoded.dump();
  ARCA_TRY(created, ask_sync(system, ctx.containers, 30s, std::move(create)));
  ARCA_TRY(entry, e.containers()->find(created.id));
  attach_container attach;
  attach.stream = attach.out = true;
  attach.framed = false;
  ARCA_TRY(attached, ask_sync(system, entry.handle, 10s, std::move(attach)));
  auto output = ctx.streams->take(attached.stream);
  ARCA_CHECK(ask_sync(system, entry.handle, 30s, start_container()));
  for (batch data; output && !(data = output->output->read_blocking()).empty();)
    for (const auto& chunk : data) std::fwrite(chunk->data(), 1, chunk->size(), stdout);
  ARCA_TRY(ended, ask_sync(system, entry.handle, 60s, wait_container()));
  ARCA_CHECK(ask_sync(system, entry.handle, 30s, remove_container()));
  return ended.code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "usage: embed_example DATA_ROOT ARCHIVE IMAGE COMMAND...\n"), 2;
  caf::actor_system_config config;
  engine::register_messages(config);
  caf::actor_system system(config);
  settings s;
  s.data_root = argv[1];
  s.run_root = s.data_root + "/run";
  auto e = engine::start(system, std::move(s));
  const auto code = e ? run(system, **e, argv[2], argv[3], argv + 4) : result<int>(fail(e.error()));
  if (!code) std::fprintf(stderr, "embed_example: %s\n", code.error().message().c_str());
  if (e) (*e)->stop();
  return code.value_or(1);
}
