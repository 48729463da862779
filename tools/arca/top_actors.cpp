// arca top-actors: what GET /arca/actors shows, as a table that is drawn anew every second.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/arca/api_client.hpp"
#include "tools/arca/commands.hpp"

namespace arca::cli {
namespace {
void draw(const nlohmann::json& rows) {
  std::printf("%-44s %-18s %-8s %6s %10s %8s %10s  %s\n", "PATH", "KIND", "STATE", "MBX", "MESSAGES", "RESTARTS",
              "FOR ms", "MESSAGE");
  for (const auto& r : rows) {
    if (!r.is_object()) continue;
    std::printf(
        "%-44s %-18s %-8s %6lld %10lld %8lld %10.1f  %s\n", r.value("path", "").c_str(), r.value("kind", "").c_str(),
        r.value("state", "").c_str(), static_cast<long long>(r.value("mailbox", int64_t{0})),
        static_cast<long long>(r.value("handled", int64_t{0})), static_cast<long long>(r.value("restarts", int64_t{0})),
        r.value("running_ms", 0.0), r.value("message", "").c_str());
  }
}
}  // namespace

int top_actors(const std::string& socket_path, bool once, bool json) {
  const api_client client(socket_path);
  const bool live = !once && !json && ::isatty(STDOUT_FILENO) == 1;
  for (;;) {
    const auto answer = client.call("GET", "/arca/actors");
    if (!answer || answer->status != 200) {
      std::fprintf(stderr, "arca: %s\n", answer ? answer->body.c_str() : answer.error().message().c_str());
      return 1;
    }
    if (json) {
      std::printf("%s\n", answer->body.c_str());
      return 0;
    }
    auto parsed = nlohmann::json::parse(answer->body, nullptr, false);
    if (parsed.is_object()) parsed = parsed.value("actors", nlohmann::json::array());
    if (live) std::printf("\033[H\033[2J");
    draw(parsed);
    std::fflush(stdout);
    if (!live) return 0;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace arca::cli
