// arca machine: what GET /arca/machines and its like show of the machines that containers run in.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "persistence/base/json_fields.hpp"
#include "tools/arca/api_client.hpp"
#include "tools/arca/commands.hpp"
#include "tools/arca/exchange.hpp"

namespace arca::cli {
namespace {

using nlohmann::json;
constexpr auto look_again = std::chrono::milliseconds(300);

int failed(const std::string& why) {
  std::fprintf(stderr, "arca: %s\n", why.c_str());
  return 1;
}

std::string encoded(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    char one[4];
    const bool plain = std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
    std::snprintf(one, sizeof one, plain ? "%c" : "%%%02X", c);
    out += one;
  }
  return out;
}

/// The JSON of an answer, or the daemon's sentence.
result<json> get(const std::string& socket_path, const std::string& target) {
  ARCA_TRY(answer, api_client(socket_path).call("GET", target));
  auto document = json::parse(answer.body, nullptr, false);
  if (answer.status != 200) return fail(errc::unavailable, sentence_of(answer.status, answer.body));
  if (!document.is_object()) return fail(errc::internal, "the daemon's answer is no JSON");
  return document;
}

std::string machine_path(const std::string& name) {
  return "/arca/machines/" + encoded(name);
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}
std::string number_or_dash(const json& row, const char* key) {
  const auto n = json_fields::integer_or(row, key, 0);
  return n == 0 ? "-" : std::to_string(n);
}

std::string uptime(int64_t seconds) {
  if (seconds < 120) return std::to_string(seconds) + "s";
  if (seconds < 2 * 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86400) + "d";
}

void print_stages(const json& document, const char* key, const char* whose) {
  const auto& list = json_fields::member(document, key);
  if (!list.is_array() || list.empty()) return;
  std::printf("\n%-24s %10s\n", whose, "ms");
  for (const auto& s : list) {
    const auto& ms = json_fields::member(s, "ms");
    std::printf("  %-22s %10.1f\n", json_fields::text(s, "stage").c_str(), ms.is_number() ? ms.get<double>() : 0.0);
  }
}

/// The whole start of the machine's container: calls, and the engine's gaps between them.
void print_timeline(const json& document) {
  const auto& list = json_fields::member(document, "timeline");
  if (!list.is_array() || list.empty()) return;
  const auto number = [](const json& step, const char* key) {
    const auto& value = json_fields::member(step, key);
    return value.is_number() ? value.get<double>() : 0.0;
  };
  std::printf("\n%-24s %10s %10s\n", "START, STEP BY STEP", "at ms", "ms");
  double engine = 0, whole = 0;
  for (const auto& step : list) {
    const auto what = json_fields::text(step, "what");
    const double at = number(step, "at"), ms = number(step, "ms");
    std::printf("  %-22s %10.1f %10.1f\n", what.c_str(), at, ms);
    whole = std::max(whole, at + ms);
    if (what == "engine") engine += ms;
  }
  std::printf("  %-22s %10.1f %10.1f\n", "engine's share, sum", whole, engine);
}

/// Where the escape sequence that begins at `at` has ended.
size_t end_of_escape(const std::string& text, size_t at) {
  size_t end = at + 1;
  if (end < text.size() && text[end] != '[') return end + 1;
  for (++end; end < text.size() && (text[end] < 0x40 || text[end] > 0x7e) && text[end] != '\n';) ++end;
  return end + 1;
}

/// A guest writes its console as it likes: what would steer the terminal is not passed on.
std::string harmless(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (c == 0x1b) {
      i = end_of_escape(text, i);
    } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 … U+009F
      i += 2;
    } else {
      if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f)) out += text[i];
      ++i;
    }
  }
  return out;
}

}  // namespace

int machine_list(const std::string& socket_path, bool as_json) {
  const auto answer = get(socket_path, "/arca/machines");
  if (!answer) return failed(answer.error().message());
  if (as_json) {
    std::printf("%s\n", answer->dump().c_str());
    return 0;
  }
  std::printf("%-10s %-28s %8s %8s %5s %7s %-6s %s\n", "KIND", "CONTAINER", "PID", "MiB", "CPUS", "UP", "ACCEL",
              "GUEST");
  for (const auto& r : json_fields::member(*answer, "machines"))
    std::printf("%-10s %-28s %8s %8s %5s %7s %-6s %s%s\n", json_fields::text(r, "Kind").c_str(),
                json_fields::text(r, "Name").c_str(), number_or_dash(r, "Pid").c_str(),
                number_or_dash(r, "MemoryMiB").c_str(), number_or_dash(r, "Cpus").c_str(),
                uptime(json_fields::integer_or(r, "UpSeconds", 0)).c_str(),
                or_dash(json_fields::text(r, "Accelerator")).c_str(), or_dash(json_fields::text(r, "Guest")).c_str(),
                json_fields::flag(r, "Unresponsive") ? "  does not answer" : "");
  return 0;
}

int machine_inspect(const std::string& socket_path, const std::string& name, bool as_json) {
  auto answer = get(socket_path, machine_path(name));
  if (!answer) return failed(answer.error().message());
  if (as_json) {
    std::printf("%s\n", answer->dump(2).c_str());
    return 0;
  }
  auto facts = *answer;
  facts.erase("stages");
  facts.erase("engine_stages");
  facts.erase("timeline");
  std::printf("%s\n", facts.dump(2).c_str());
  print_stages(*answer, "stages", "MACHINE'S STAGES");
  print_stages(*answer, "engine_stages", "ENGINE'S STAGES");
  print_timeline(*answer);
  return 0;
}

int machine_log(const std::string& socket_path, const std::string& name, bool follow) {
  int64_t offset = 0;
  for (bool first = true;; first = false) {
    const auto answer = get(socket_path, machine_path(name) + "/log?offset=" + std::to_string(offset));
    if (!answer) {
      if (first) return failed(answer.error().message());
      return 0;  // the machine has ended and nothing of it is left
    }
    const bool running = json_fields::flag(*answer, "Running");
    if (follow && !running) {
      if (first)
        return failed("container " + name + " is not running: `arca machine logs " + name +
                      "` shows the last boot log that was kept");
      return 0;
    }
    const auto text = harmless(json_fields::text(*answer, "Text"));
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    if (!follow) return 0;
    offset = json_fields::integer_or(*answer, "Next", 0);
    std::this_thread::sleep_for(look_again);
  }
}

int machine_dial(const std::string& socket_path, const std::string& name, const std::string& address) {
  auto connection = api_client(socket_path).hijack(machine_path(name) + "/dial?to=" + encoded(address));
  if (!connection) return failed(connection.error().message());
  return exchange(std::move(*connection), address.rfind("udp:", 0) == 0);
}

}  // namespace arca::cli
