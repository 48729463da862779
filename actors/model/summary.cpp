#include "actors/model/summary.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "actors/model/go_schema.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

// Stand for the bytes that are filled in later; marshal would escape the bytes themselves.
constexpr std::string_view status_mark = "\x01", image_mark = "\x03";

// Words with blanks in single quotes, nothing escaped: as Docker does it.
std::string command_text(const container_record& r) {
  const auto command = command_of(r);
  std::string out = command.path;
  for (const auto& arg : command.args) {
    const bool quoted = arg.find(' ') != std::string::npos;
    out += quoted ? " '" + arg + "'" : " " + arg;
  }
  return out;
}

json ports_json(const container_record& r) {
  json out = json::array();
  for (const auto& p : ports_of(r))
    out.push_back({{"IP", p.ip}, {"PrivatePort", p.private_port}, {"PublicPort", p.public_port}, {"Type", p.type}});
  return out;
}

json summary_networks(const container_record& r) {
  auto networks = networks_json(r);
  for (auto& endpoint : networks) endpoint["DNSNames"] = endpoint["Aliases"] = nullptr;
  return networks;
}

void replace_mark(std::string& text, std::string_view escaped, std::string_view mark) {
  if (const auto at = text.find(escaped); at != std::string::npos) text.replace(at, escaped.size(), mark);
}

}  // namespace

std::string make_summary(const container_record& r) {
  json host = {{"NetworkMode", text_of(r.host_config, "NetworkMode")},
               {"Annotations", object_of(r.host_config, "Annotations")}};
  const json out = {{"Id", r.id},
                    {"Names", {"/" + r.name}},
                    {"Image", ""},
                    {"ImageID", r.image_id},
                    {"Command", command_text(r)},
                    {"Created", r.created / 1'000'000'000},
                    {"Ports", ports_json(r)},
                    {"Labels", object_of(r.config, "Labels")},
                    {"State", shown_status(r)},
                    {"Status", ""},
                    {"HostConfig", std::move(host)},
                    {"NetworkSettings", {{"Networks", summary_networks(r)}}},
                    {"Mounts", mounts_json(r)}};
  auto text = go::marshal(out, go::container_summary);
  // Struct order: Image comes before anything a user wrote but Names; Labels' key is ours, so is Status' after State.
  replace_mark(text, "\"Image\":\"\"", "\"Image\":\"" + std::string(image_mark) + "\"");
  const auto labels = text.find(",\"Labels\":", text.find(",\"Ports\":["));
  text.insert(labels, 1, '\x02');
  const auto status = text.rfind(",\"Status\":\"\",\"HostConfig\":");
  text.insert(status + 11, status_mark);
  return text;
}

void append_summary(std::string& out, std::string_view summary, const container_record& r, int64_t now_nanos,
                    const summary_options& options) {
  const auto begin = out.size();
  const auto quoted = [](std::string_view text) {
    std::string literal;
    go::append_string(literal, text);
    return literal.substr(1, literal.size() - 2);
  };
  while (!summary.empty()) {
    size_t plain = 0;
    while (plain < summary.size() && static_cast<unsigned char>(summary[plain]) > 3) ++plain;
    out.append(summary, 0, plain);
    if (plain == summary.size()) break;
    const char mark = summary[plain];
    summary.remove_prefix(plain + 1);
    if (mark == '\x01') {
      out += quoted(status_text(r, now_nanos));
    } else if (mark == '\x03') {
      out += quoted(options.image_moved ? r.image_id : r.image_ref);
    } else if (mark == '\x02') {
      if (options.with_size && options.size_rw != 0) out += ",\"SizeRw\":" + std::to_string(options.size_rw);
      if (options.with_size && options.size_root_fs != 0)
        out += ",\"SizeRootFs\":" + std::to_string(options.size_root_fs);
    }
  }
  if (!options.version.before(46) || object_of(r.host_config, "Annotations").empty()) return;
  if (auto parsed = parse_document(std::string_view(out).substr(begin))) {
    (*parsed)["HostConfig"].erase("Annotations");
    out.resize(begin);
    go::append_marshal(out, *parsed, go::container_summary);
  }
}

std::string status_text(const container_record& r, int64_t now_nanos) {
  const auto& s = r.state;
  const auto since = [&](int64_t then) { return human_duration(now_nanos - then); };
  if (shown_status(r) == "restarting")
    return "Restarting (" + std::to_string(s.exit_code) + ") " + since(s.finished_at) + " ago";
  switch (s.status) {
    case container_status::paused:
      return "Up " + since(s.started_at) + " (Paused)";
    case container_status::running:
    case container_status::stopping: {
      const auto health = health_of(r);
      if (health == "none") return "Up " + since(s.started_at);
      return "Up " + since(s.started_at) + (health == "starting" ? " (health: starting)" : " (" + health + ")");
    }
    case container_status::removing:
      return "Removal In Progress";
    case container_status::dead:
      return "Dead";
    default:
      break;
  }
  if (s.started_at == 0) return "Created";
  if (s.finished_at == 0) return "";
  return "Exited (" + std::to_string(s.exit_code) + ") " + since(s.finished_at) + " ago";
}

std::string human_duration(int64_t nanos) {
  const auto seconds = nanos / 1'000'000'000;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return std::to_string(seconds) + " seconds";
  const auto minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return std::to_string(minutes) + " minutes";
  const auto hours = static_cast<int64_t>(static_cast<double>(nanos) / 3600e9 + 0.5);
  if (hours == 1) return "About an hour";
  if (hours < 48) return std::to_string(hours) + " hours";
  if (hours < 24 * 7 * 2) return std::to_string(hours / 24) + " days";
  if (hours < 24 * 30 * 2) return std::to_string(hours / 24 / 7) + " weeks";
  if (hours < 24 * 365 * 2) return std::to_string(hours / 24 / 30) + " months";
  return std::to_string(seconds / 3600 / 24 / 365) + " years";
}

std::vector<shown_port> ports_of(const container_record& r) {
  std::vector<shown_port> out;
  const auto& mode = text_of(r.host_config, "NetworkMode");
  if (!shows_running(r) || shown_status(r) == "restarting" || mode == "host" || mode == "none" ||
      starts_with(mode, "container:"))
    return out;
  const auto number = [](std::string_view text) {
    int n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return n;
  };
  const auto& ports = r.ports.is_object() ? r.ports : object_of(r.config, "ExposedPorts");
  for (const auto& [key, bindings] : ports.items()) {
    const auto slash = key.find('/');
    shown_port p;
    p.private_port = number(key);
    p.type = slash == std::string::npos ? "tcp" : key.substr(slash + 1);
    if (!bindings.is_array()) {
      out.push_back(p);
      continue;
    }
    for (const auto& binding : bindings) {
      p.ip = text_of(binding, "HostIp");
      p.public_port = number(text_of(binding, "HostPort"));
      out.push_back(p);
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const shown_port& a, const shown_port& b) {
    return std::tie(a.private_port, a.type) < std::tie(b.private_port, b.type);
  });
  return out;
}

std::string health_of(const container_record& r) {
  const auto& status = text_of(r.state.health, "Status");
  return status.empty() ? "none" : status;
}

}  // namespace arca::model
