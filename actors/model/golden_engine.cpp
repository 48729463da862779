#include "actors/model/golden_engine.hpp"

#include <algorithm>

#include "actors/model/create.hpp"
#include "actors/model/exec.hpp"
#include "actors/model/info.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/list_filters.hpp"
#include "actors/model/mounts.hpp"
#include "actors/model/summary.hpp"
#include "actors/model/update.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"

namespace arca::model::golden {
namespace {

constexpr const char* path_variable = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const host_facts& golden_host() {
  static const host_facts facts = [] {
    host_facts f;
    f.hostname = "golden";
    f.cpus = 4;
    f.cpu_list = "0-3";
    f.mem_nodes = "0";
    return f;
  }();
  return facts;
}

int status_of(errc code) {
  switch (code) {
    case errc::invalid_argument:
      return 400;
    case errc::not_found:
      return 404;
    case errc::conflict:
      return 409;
    default:
      return 500;
  }
}

outcome failed(const error& e) {
  return {true, status_of(e.code()), {{"message", e.message()}}};
}

std::string query(const json& request, const std::string& key) {
  const auto found = request.find("query");
  if (found == request.end() || !found->is_array()) return {};
  for (const auto& pair : *found)
    if (pair[0] == key) return pair[1].is_string() ? pair[1].get<std::string>() : dump(pair[1]);
  return {};
}

bool truthy(const std::string& text) {
  const auto value = lower(text);
  return !(value.empty() || value == "0" || value == "no" || value == "false" || value == "none");
}

// The body as text; false when it is of a kind that does not matter here.
bool body_text(const json& request, std::string& out) {
  const auto found = request.find("body");
  if (found == request.end() || found->is_null()) return true;
  if (found->contains("json")) {
    out = dump((*found)["json"]);
    return true;
  }
  if (!found->contains("text") || found->value("type", "") == "text/plain" || !found->contains("type")) return false;
  out = (*found)["text"].get<std::string>();
  return true;
}

std::string padded_id(size_t n) {
  return digest_of("golden " + std::to_string(n)).substr(7);
}

}  // namespace

engine::engine() {
  const json busybox = {{"Env", {path_variable}}, {"Cmd", {"sh"}}};
  const auto add = [&](const char* variable, const std::string& reference, json config) {
    const auto id = "sha256:" + padded_id(image_ids_.size() + 1000);
    variables_[variable] = id;
    image_ids_[reference] = id;
    image_ids_[id] = id;
    image_ids_[id.substr(7, 12)] = id;
    image_configs_[id] = std::move(config);
  };
  add("img_busybox", "busybox:gt", busybox);
  add("img_tiny", "gt/tiny:1", {{"Cmd", {"/hello.txt"}}, {"Labels", {{"size", "tiny"}}}});
  variables_["docker_root"] = "/var/lib/docker";
  variables_["server_version"] = engine_version;
  variables_["net"] = padded_id(7);
}

std::shared_ptr<container_record> engine::find(const std::string& name) const {
  const auto plain = starts_with(name, "/") ? name.substr(1) : name;
  for (const auto& r : records_)
    if (r->id == name || r->name == plain) return r;
  return nullptr;
}

outcome engine::answer(const json& raw, const json& expected) {
  const auto request = substitute(raw, variables_);
  const auto path = request["path"].get<std::string>();
  const auto method = request["method"].get<std::string>();
  const auto parts = split(path, '/');
  if (parts.size() == 3 && (parts[2] == "info" || parts[2] == "version")) return system(parts[2], parts[1], expected);
  if (parts.size() < 4 || !starts_with(parts[1], "v1.") || parts[2] != "containers" || request.contains("raw_query"))
    return {};
  const int minor = api_version::parse(parts[1]).minor;
  if (minor < 24 || minor > 51) return {};
  if (method == "POST" && parts[3] == "create") return create(request, minor, expected);
  if (method == "POST" && parts[3] == "prune") return prune(request);
  if (method == "GET" && parts[3] == "json" && parts.size() == 4) return list(request, minor);
  if (method == "DELETE") {
    if (expected.value("status", 0) == 204 && query(request, "link").empty())
      records_.erase(std::remove(records_.begin(), records_.end(), find(parts[3])), records_.end());
    return {};
  }
  if (parts.size() < 5) return {};
  if (method == "GET" && parts[4] == "json") return inspect(parts[3], minor, expected);
  if (method == "POST" && parts[4] == "update") return update(parts[3], request, minor);
  if (method == "POST" && parts[4] == "exec") return make_exec(parts[3], request, minor);
  if (method == "POST" && parts[4] == "rename" && expected.value("status", 0) == 204)
    if (const auto r = find(parts[3])) r->name = *check_container_name(query(request, "name"));
  follow(parts[3], parts[4], expected);
  return {};
}

outcome engine::create(const json& request, int minor, const json& expected) {
  // Images, names in use and volumes belong to others; the answer would be theirs.
  const auto text = expected["body"].is_object() ? expected["body"].value("message", "") : "";
  for (const auto* foreign :
       {"image", "volume plugin", "is already in use", "invalid reference", "Content-Type", "Cannot mkdir"})
    if (text.find(foreign) != std::string::npos && text.find("mount config") == std::string::npos) return {};
  std::string body;
  if (!body_text(request, body)) return {};
  const container_lookup lookup = [this](const std::string& name) -> result<std::string> {
    if (const auto r = find(name)) return r->id;
    return fail(errc::not_found, "No such container: " + name);
  };
  auto made = decode_create(body, {minor}, query(request, "platform"), golden_host(), {}, lookup);
  if (!made) return failed(made.error());
  const auto image = text_of((*made)["Config"], "Image");
  if (!image.empty() && image_ids_.count(image) == 0) return {};
  auto r = std::make_shared<container_record>();
  r->id = padded_id(static_cast<size_t>(clock_ / 1'000'000'000));
  if (auto done = complete_create(*made, image.empty() ? json() : image_configs_[image_ids_[image]], r->id, {}, lookup);
      !done)
    return failed(done.error());
  r->name = query(request, "name").empty() ? random_container_name() : query(request, "name");
  auto name = check_container_name(r->name);
  if (!name) return failed(name.error());
  r->name = *name;
  r->created = clock_ += 1'000'000'000;
  r->image_ref = image;
  r->image_id = image.empty() ? "" : image_ids_[image];
  r->config = (*made)["Config"];
  r->host_config = (*made)["HostConfig"];
  r->networking = (*made)["NetworkingConfig"]["EndpointsConfig"];
  auto plan =
      plan_mounts(r->config, r->host_config, [this](const std::string& from) -> result<std::vector<mount_point>> {
        if (const auto source = find(from)) return source->mounts;
        return fail(errc::not_found, "No such container: " + from);
      });
  if (!plan) return failed(plan.error());
  for (auto& m : *plan) {
    if (!shown_in_mounts(m)) continue;
    if (m.point.type == "volume" && !m.from_container) {
      if (m.anonymous) m.point.name = padded_id(records_.size() * 100 + r->mounts.size());
      m.point.driver = "local";
      m.point.source = "/var/lib/docker/volumes/" + m.point.name + "/_data";
    }
    r->mounts.push_back(m.point);
  }
  const auto dir = "/var/lib/docker/containers/" + r->id;
  r->log_path = dir + "/" + r->id + "-json.log";
  r->hosts_path = dir + "/hosts";
  r->hostname_path = dir + "/hostname";
  r->resolv_path = dir + "/resolv.conf";
  records_.push_back(r);
  return {true, 201, {{"Id", r->id}, {"Warnings", (*made)["Warnings"]}}};
}

void engine::follow(const std::string& name, const std::string& what, const json& expected) {
  const auto r = find(name);
  if (!r) return;
  const int status = expected.value("status", 0);
  if (what == "start") r->generation = 1;
  if (what == "start" && status == 204) {
    r->state.status = container_status::running;
    r->state.started_at = clock_;
    r->state.pid = 4711;
    const auto network = network_name_of(text_of(r->host_config, "NetworkMode"));
    if (network.empty()) {  // joins another container's
      if (const auto other = find(text_of(r->host_config, "NetworkMode").substr(10))) {
        r->config["Hostname"] = other->config["Hostname"];
        r->hosts_path = other->hosts_path;
        r->hostname_path = other->hostname_path;
        r->resolv_path = other->resolv_path;
      }
      return;
    }
    endpoint_settings e;
    e.network_name = network;
    e.network_id = is_user_defined(network) ? variables_["net"] : padded_id(9);
    e.endpoint_id = padded_id(8);
    if (network != "host" && network != "none") {
      e.mac = "02:42:ac:11:00:02";
      e.ip4 = "172.17.0.2";
      e.gateway4 = "172.17.0.1";
      e.prefix4 = 16;
    }
    for (const auto& [port, unused] : object_of(r->config, "ExposedPorts").items()) {
      auto& bound = r->ports[port] = nullptr;
      for (const auto& b : list_of(object_of(r->host_config, "PortBindings"), port.c_str())) {
        const auto ip = text_of(b, "HostIp");
        if (ip.empty()) bound.push_back({{"HostIp", "0.0.0.0"}, {"HostPort", b["HostPort"]}});
        bound.push_back({{"HostIp", ip.empty() ? "::" : ip}, {"HostPort", b["HostPort"]}});
      }
    }
    if (r->networking.is_object()) e.config = r->networking.value(network, json());
    r->endpoints = {e};
  }
  const bool ended = (what == "wait" && status == 200) || ((what == "stop" || what == "kill") && status == 204);
  if (ended && shows_running(*r)) {
    r->state.status = container_status::exited;
    r->state.finished_at = clock_;
    if (expected["body"].is_object()) r->state.exit_code = expected["body"].value("StatusCode", 0);
  }
}

outcome engine::inspect(const std::string& name, int minor, const json& expected) {
  const auto r = find(name);
  const auto& body = expected["body"];
  if (!r || expected.value("status", 0) != 200) return {};
  if (!body["State"].is_object() || !body["Name"].is_string() || !body["Config"].is_object()) return {};
  // What a process and the network bring.
  const auto shown = body["State"]["Status"].get<std::string>();
  const auto status = parse_status(shown);
  if (!status) return {};
  r->state.status = *status;
  r->state.error = text_of(body["State"], "Error");
  if (body["State"]["ExitCode"].is_number_integer()) r->state.exit_code = body["State"]["ExitCode"].get<int32_t>();
  r->restart_count = body["RestartCount"].is_number() ? body["RestartCount"].get<int64_t>() : 1;
  if (!r->endpoints.empty() && body["NetworkSettings"]["Networks"].contains(r->endpoints[0].network_name)) {
    const auto& shown_endpoint = body["NetworkSettings"]["Networks"][r->endpoints[0].network_name];
    if (const auto prefix = number_of(shown_endpoint, "IPPrefixLen"); prefix != 0)
      r->endpoints[0].prefix4 = static_cast<int32_t>(prefix);
  }
  r->state.health = body["State"].contains("Health") ? body["State"]["Health"] : json();
  if (r->state.health.is_object()) r->state.health["Log"] = json::array();
  if (starts_with(text_of(r->state.health, "Status"), "{{")) r->state.health["Status"] = "starting";
  if (r->state.health.is_object() && !r->state.health["FailingStreak"].is_number())
    r->state.health["FailingStreak"] = 1;
  r->state.started_at = starts_with(text_of(body["State"], "StartedAt"), "0001") ? 0 : clock_;
  r->state.finished_at = starts_with(text_of(body["State"], "FinishedAt"), "0001") ? 0 : clock_;
  const auto& ports = body["NetworkSettings"]["Ports"];
  r->ports = ports.is_object() && !ports.empty() ? substitute(ports, variables_) : json();
  inspect_extras extras{.data_root = "/var/lib/docker"};
  if (body["ExecIDs"].is_string()) extras.exec_ids = {"x"};
  extras.size_rw = 0;
  extras.size_root_fs = 100;
  extras.with_size = body.contains("SizeRw") || body.contains("SizeRootFs");
  auto newest = inspect_json(*r, extras);
  return {true, 200, *parse_document(inspect_for_version(newest, {minor}))};
}

outcome engine::list(const json& request, int minor) {
  list_options options;
  auto where = filters::parse(query(request, "filters"));
  if (!where) return failed(where.error());
  options.where = *where;
  options.all = truthy(query(request, "all"));
  const auto limit = query(request, "limit");
  if (limit == "x") return {};  // a number is the edge's business
  options.limit = limit.empty() ? 0 : std::stoi(limit);
  list_lookups lookups;
  lookups.image_id = [this](const std::string& reference) {
    const auto found = image_ids_.find(reference);
    return found == image_ids_.end() ? std::string() : found->second;
  };
  auto selected = select_containers({records_.begin(), records_.end()}, options, lookups);
  if (!selected) return failed(selected.error());
  std::string text;
  for (const auto& r : *selected) {
    text += text.empty() ? "[" : ",";
    summary_options shown{{minor}, truthy(query(request, "size")), 0, 200, false};
    append_summary(text, make_summary(*r), *r, clock_ + 5'000'000'000, shown);
  }
  return {true, 200, *parse_document(text.empty() ? "[]" : text + "]")};
}

outcome engine::prune(const json& request) {
  auto where = filters::parse(query(request, "filters"));
  if (!where) return failed(where.error());
  if (auto good = check_prune_filters(*where); !good) return failed(good.error());
  json gone = json::array();
  for (const auto& r : std::vector<std::shared_ptr<container_record>>(records_)) {
    if (!prune_matches(*r, *where, now_nanos())) continue;
    gone.push_back(r->id);
    records_.erase(std::find(records_.begin(), records_.end(), r));
  }
  return {true, 200, {{"ContainersDeleted", gone.empty() ? json() : gone}, {"SpaceReclaimed", 0}}};
}

outcome engine::system(const std::string& what, const std::string& version, const json& expected) {
  const int minor = api_version::parse(version).minor;
  if (expected.value("status", 0) != 200) return {};
  host_facts host = gather_host_facts();
  host.ipv4_forwarding = true;
  engine_facts facts{.id = "golden", .data_root = "/var/lib/docker"};
  if (what == "version") return {true, 200, *parse_document(version_json(host, facts))};
  const auto& body = expected["body"];
  engine_counts counts;
  counts.containers = number_of(body, "Containers");
  counts.running = number_of(body, "ContainersRunning");
  counts.paused = number_of(body, "ContainersPaused");
  counts.stopped = number_of(body, "ContainersStopped");
  counts.images = number_of(body, "Images");
  counts.now_nanos = clock_;
  auto info = *parse_document(info_json(host, facts, counts, {minor}));
  for (const char* own : {"namespace", "vm"}) info["Runtimes"].erase(own);
  return {true, 200, std::move(info)};
}

outcome engine::update(const std::string& name, const json& request, int minor) {
  std::string body;
  if (!body_text(request, body)) return {};
  auto asked = decode_update(body, {minor}, golden_host());
  if (!asked) return failed(asked.error());
  const auto r = find(name);
  if (!r) return {};
  auto changed = apply_update(r->host_config, *asked, shows_running(*r));
  if (!changed) return failed(changed.error().wrap("Cannot update container " + r->id));
  r->host_config = *changed;
  return {true, 200, {{"Warnings", (*asked)["Warnings"].empty() ? json() : (*asked)["Warnings"]}}};
}

outcome engine::make_exec(const std::string& name, const json& request, int minor) {
  std::string body;
  if (!body_text(request, body)) return {};
  auto config = decode_exec(body, {minor});
  if (!config) return failed(config.error());
  if (!find(name)) return {};
  return {};
}

}  // namespace arca::model::golden
