#include "actors/model/container_record.hpp"

#include <array>
#include <utility>

#include "actors/model/go_json.hpp"

namespace arca::model {
namespace {

struct status_names {
  container_status status;
  std::string_view ours, docker;
};
constexpr std::array<status_names, 9> statuses{{{container_status::created, "created", "created"},
                                                {container_status::starting, "starting", "created"},
                                                {container_status::running, "running", "running"},
                                                {container_status::paused, "paused", "paused"},
                                                {container_status::stopping, "stopping", "running"},
                                                {container_status::restarting, "restarting", "restarting"},
                                                {container_status::exited, "exited", "exited"},
                                                {container_status::removing, "removing", "removing"},
                                                {container_status::dead, "dead", "dead"}}};

// Reads the fields of a row; a missing or wrong one keeps its default and is noted.
class reader {
 public:
  explicit reader(const json& from) : from_(from) {}
  void get(const char* key, std::string& into) {
    if (const auto* v = find(key, &json::is_string)) into = v->get_ref<const std::string&>();
  }
  void get(const char* key, bool& into) {
    if (const auto* v = find(key, &json::is_boolean)) into = v->get<bool>();
  }
  void get(const char* key, int64_t& into) {
    if (const auto* v = find(key, &json::is_number_integer)) into = v->get<int64_t>();
  }
  void get(const char* key, int32_t& into) {
    if (const auto* v = find(key, &json::is_number_integer)) into = v->get<int32_t>();
  }
  void get(const char* key, uint64_t& into) {
    if (const auto* v = find(key, &json::is_number_integer)) into = v->get<uint64_t>();
  }
  void get(const char* key, json& into) {
    if (const auto found = from_.find(key); found != from_.end()) into = *found;
  }
  void get(const char* key, std::vector<std::string>& into) {
    const auto* v = find(key, &json::is_array);
    if (v == nullptr) return;
    for (const auto& e : *v)
      if (e.is_string()) into.push_back(e.get<std::string>());
  }
  template <class Element>
  void each(const char* key, Element element) {
    const auto* v = find(key, &json::is_array);
    if (v == nullptr) return;
    for (const auto& e : *v)
      if (e.is_object()) element(reader(e));
  }
  template <class Part>
  void part(const char* key, Part read_part) {
    if (const auto* v = find(key, &json::is_object)) read_part(reader(*v));
  }

 private:
  const json* find(const char* key, bool (json::*is)() const noexcept) const {
    const auto found = from_.find(key);
    return found != from_.end() && ((*found).*is)() ? &*found : nullptr;
  }
  const json& from_;
};

}  // namespace

std::string_view to_string(container_status s) {
  for (const auto& row : statuses)
    if (row.status == s) return row.ours;
  return "dead";
}

std::string_view docker_status(container_status s) {
  for (const auto& row : statuses)
    if (row.status == s) return row.docker;
  return "dead";
}

result<container_status> parse_status(std::string_view name) {
  for (const auto& row : statuses)
    if (row.ours == name) return row.status;
  return fail(errc::invalid_argument, "unknown container status: " + std::string(name));
}

std::string_view shown_status(const container_record& r) {
  if (r.state.status == container_status::starting && r.restart_delay_ms != 0) return "restarting";
  if (r.state.status == container_status::starting && r.state.started_at != 0) return "exited";
  return docker_status(r.state.status);
}

bool shows_running(const container_record& r) {
  switch (r.state.status) {
    case container_status::running:
    case container_status::paused:
    case container_status::stopping:
    case container_status::restarting:
      return true;
    default:
      return shown_status(r) == "restarting";
  }
}

std::string to_document(const container_record& r) {
  json mounts = json::array(), endpoints = json::array();
  for (const auto& m : r.mounts)
    mounts.push_back({{"type", m.type},
                      {"name", m.name},
                      {"source", m.source},
                      {"destination", m.destination},
                      {"driver", m.driver},
                      {"mode", m.mode},
                      {"propagation", m.propagation},
                      {"read_write", m.read_write}});
  for (const auto& e : r.endpoints)
    endpoints.push_back({{"network_name", e.network_name},
                         {"network_id", e.network_id},
                         {"endpoint_id", e.endpoint_id},
                         {"driver", e.driver},
                         {"mac", e.mac},
                         {"ip4", e.ip4},
                         {"gateway4", e.gateway4},
                         {"prefix4", e.prefix4},
                         {"config", e.config}});
  const json state = {
      {"status", to_string(r.state.status)}, {"oom_killed", r.state.oom_killed}, {"pid", r.state.pid},
      {"exit_code", r.state.exit_code},      {"error", r.state.error},           {"started_at", r.state.started_at},
      {"finished_at", r.state.finished_at},  {"health", r.state.health}};
  return dump({{"id", r.id},
               {"name", r.name},
               {"created", r.created},
               {"image_ref", r.image_ref},
               {"image_id", r.image_id},
               {"os", r.os},
               {"layers", r.layers},
               {"config", r.config},
               {"host_config", r.host_config},
               {"networking", r.networking},
               {"mounts", std::move(mounts)},
               {"endpoints", std::move(endpoints)},
               {"ports", r.ports},
               {"state", state},
               {"runtime", r.runtime},
               {"machine", r.machine},
               {"machine_details", r.details},
               {"links", r.links},
               {"generation", r.generation},
               {"restart_count", r.restart_count},
               {"stopped_by_user", r.stopped_by_user},
               {"restart_delay_ms", r.restart_delay_ms},
               {"start_wanted", r.start_wanted},
               {"remove_volumes", r.remove_volumes},
               {"log_path", r.log_path},
               {"hosts_path", r.hosts_path},
               {"hostname_path", r.hostname_path},
               {"resolv_path", r.resolv_path}});
}

result<container_record> from_document(const std::string& text) {
  ARCA_TRY(document, parse_document(text));
  if (!document.is_object()) return fail(errc::internal, "a stored container is no JSON object");
  container_record r;
  reader in(document);
  in.get("id", r.id);
  if (r.id.empty()) return fail(errc::internal, "a stored container has no id");
  in.get("name", r.name);
  in.get("created", r.created);
  in.get("image_ref", r.image_ref);
  in.get("image_id", r.image_id);
  in.get("os", r.os);
  in.get("layers", r.layers);
  in.get("config", r.config);
  in.get("host_config", r.host_config);
  in.get("networking", r.networking);
  in.each("mounts", [&](reader e) {
    auto& m = r.mounts.emplace_back();
    e.get("type", m.type);
    e.get("name", m.name);
    e.get("source", m.source);
    e.get("destination", m.destination);
    e.get("driver", m.driver);
    e.get("mode", m.mode);
    e.get("propagation", m.propagation);
    e.get("read_write", m.read_write);
  });
  in.each("endpoints", [&](reader e) {
    auto& p = r.endpoints.emplace_back();
    e.get("network_name", p.network_name);
    e.get("network_id", p.network_id);
    e.get("endpoint_id", p.endpoint_id);
    e.get("driver", p.driver);
    e.get("mac", p.mac);
    e.get("ip4", p.ip4);
    e.get("gateway4", p.gateway4);
    e.get("prefix4", p.prefix4);
    e.get("config", p.config);
  });
  in.get("ports", r.ports);
  std::string status;
  in.part("state", [&](reader s) {
    s.get("status", status);
    s.get("oom_killed", r.state.oom_killed);
    s.get("pid", r.state.pid);
    s.get("exit_code", r.state.exit_code);
    s.get("error", r.state.error);
    s.get("started_at", r.state.started_at);
    s.get("finished_at", r.state.finished_at);
    s.get("health", r.state.health);
  });
  ARCA_TRY(parsed, parse_status(status));
  r.state.status = parsed;
  in.get("runtime", r.runtime);
  in.get("machine", r.machine);
  in.get("machine_details", r.details);
  in.get("links", r.links);
  in.get("generation", r.generation);
  in.get("restart_count", r.restart_count);
  in.get("stopped_by_user", r.stopped_by_user);
  in.get("restart_delay_ms", r.restart_delay_ms);
  in.get("start_wanted", r.start_wanted);
  in.get("remove_volumes", r.remove_volumes);
  in.get("log_path", r.log_path);
  in.get("hosts_path", r.hosts_path);
  in.get("hostname_path", r.hostname_path);
  in.get("resolv_path", r.resolv_path);
  return r;
}

command command_of(const container_record& r) {
  std::vector<std::string> words;
  for (const char* key : {"Entrypoint", "Cmd"}) {
    const auto found = r.config.find(key);
    if (found == r.config.end() || !found->is_array()) continue;
    for (const auto& word : *found)
      if (word.is_string()) words.push_back(word.get<std::string>());
  }
  command out;
  if (words.empty()) return out;
  out.path = std::move(words.front());
  out.args.assign(std::make_move_iterator(words.begin() + 1), std::make_move_iterator(words.end()));
  return out;
}

}  // namespace arca::model
