// arca run-archive: load an image archive, create a container of it, show its output, answer its exit code.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "persistence/base/fs.hpp"
#include "tools/arca/api_client.hpp"
#include "tools/arca/commands.hpp"

namespace arca::cli {
namespace {
using json = nlohmann::json;

class stopwatch {
 public:
  void step(const char* name) {
    const auto now = std::chrono::steady_clock::now();
    std::fprintf(stderr, "%-28s %8.3f s\n", name, std::chrono::duration<double>(now - last_).count());
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::string message_of(const response& r) {
  const auto body = json::parse(r.body, nullptr, false);
  return body.is_object() ? body.value("message", r.body) : r.body;
}

result<json> ask(const api_client& client, std::string_view method, const std::string& target, const json& body,
                 int wanted) {
  ARCA_TRY(r, client.call(method, target, body.is_null() ? std::string() : body.dump()));
  if (r.status != wanted) return fail(errc::internal, message_of(r));
  return json::parse(r.body.empty() ? "null" : r.body, nullptr, false);
}

/// Name or id of what was loaded, from the progress lines.
result<std::string> load(const api_client& client, const std::string& file) {
  ARCA_TRY(fd, fs::open(file, O_RDONLY));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno("stat " + file);
  std::string loaded;
  std::string problem;
  ARCA_TRY(status, client.upload("/images/load?quiet=1", fd.get(), static_cast<uint64_t>(st.st_size),
                                 [&](std::string_view line) {
                                   const auto j = json::parse(line, nullptr, false);
                                   if (!j.is_object()) return;
                                   if (j.contains("error") || j.contains("message"))
                                     problem = j.value("error", j.value("message", ""));
                                   const auto text = j.value("stream", std::string());
                                   for (const std::string prefix : {"Loaded image: ", "Loaded image ID: "})
                                     if (loaded.empty() && text.rfind(prefix, 0) == 0)
                                       loaded = text.substr(prefix.size(), text.find('\n') - prefix.size());
                                 }));
  if (status != 200 || !problem.empty()) return fail(errc::internal, problem.empty() ? "load failed" : problem);
  if (loaded.empty()) return fail(errc::invalid_argument, file + " holds no image");
  return loaded;
}

/// Copies multiplexed frames to stdout and stderr until the stream ends.
void copy_output(api_client::hijacked stream) {
  std::string data = std::move(stream.early);
  std::array<char, 65536> buffer{};
  for (;;) {
    while (data.size() >= 8) {
      const auto* h = reinterpret_cast<const unsigned char*>(data.data());
      const size_t size = size_t{h[4]} << 24 | size_t{h[5]} << 16 | size_t{h[6]} << 8 | size_t{h[7]};
      if (data.size() < 8 + size) break;
      if (!fs::write_all(h[0] == 2 ? STDERR_FILENO : STDOUT_FILENO, std::string_view(data).substr(8, size))) return;
      data.erase(0, 8 + size);
    }
    const ssize_t n = ::recv(stream.socket.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return;
    data.append(buffer.data(), static_cast<size_t>(n));
  }
}

result<int> run(const api_client& client, const std::string& file, const std::vector<std::string>& command) {
  stopwatch watch;
  ARCA_TRY(image, load(client, file));
  watch.step("load the image");
  json body = {{"Image", image}, {"AttachStdout", true}, {"AttachStderr", true}};
  if (!command.empty()) body["Cmd"] = command;
  ARCA_TRY(created, ask(client, "POST", "/containers/create", body, 201));
  const auto id = created.value("Id", std::string());
  watch.step("create the container");
  auto attached = client.hijack("/containers/" + id + "/attach?stream=1&stdout=1&stderr=1");
  if (!attached) return fail(attached.error());
  std::thread output([stream = std::move(*attached)]() mutable { copy_output(std::move(stream)); });
  auto started = ask(client, "POST", "/containers/" + id + "/start", nullptr, 204);
  watch.step("start it");
  int code = 125;
  if (started) {
    auto waited = ask(client, "POST", "/containers/" + id + "/wait", nullptr, 200);
    if (waited && waited->is_object()) code = waited->value("StatusCode", 125);
    output.join();
    watch.step("run to its end");
  }
  auto removed = ask(client, "DELETE", "/containers/" + id + "?force=1&v=1", nullptr, 204);
  if (output.joinable()) output.join();
  if (!started) return fail(started.error());
  if (!removed) return fail(removed.error());
  watch.step("remove it");
  return code;
}
}  // namespace

int run_archive(const std::string& socket_path, const std::string& file, const std::vector<std::string>& command) {
  const auto code = run(api_client(socket_path), file, command);
  if (code) return *code;
  std::fprintf(stderr, "arca: %s\n", code.error().message().c_str());
  return 125;
}

}  // namespace arca::cli
