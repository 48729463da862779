#include "actors/network/network_manager.hpp"

#include <algorithm>
#include <caf/actor_system.hpp>

#include "actors/network/manager_impl.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/links.hpp"

namespace arca {
namespace {
constexpr size_t restart_limit = 5;  // failures of one child within restart_window before the manager gives up
constexpr int64_t restart_window = 30'000'000'000;

std::vector<endpoint_record> parse_endpoints(const loaded_rows& rows) {
  std::vector<endpoint_record> endpoints;
  for (const auto& row : rows.rows) {
    auto parsed = endpoint_from_document(row.document);
    if (parsed)
      endpoints.push_back(std::move(*parsed));
    else
      log::error("endpoint row set aside", log::kv("endpoint", row.key), log::kv("reason", parsed.error().message()));
  }
  return endpoints;
}

result<host_view> view_host(const std::string& bridge) {
  host_view view;
  ARCA_TRY(taken, net::host_subnets(bridge));
  ARCA_TRY(own, net::link_addresses(bridge));
  view.taken = std::move(taken);
  view.own = std::move(own);
  return view;
}
}  // namespace

network_manager::network_manager(caf::actor_config& config, engine_context& ctx)
    : tracked(config, *ctx.actors, "/networks", "network_manager"), ctx_(ctx) {}

network_manager::behavior_type network_manager::make_behavior() {
  set_exception_handler([](std::exception_ptr&) { return caf_error(errc::internal, "networks failed unexpectedly"); });
  set_down_handler([this](caf::down_msg& down) { child_ended(down); });
  load_networks();
  return {
      [this](const allocate_endpoint& request) { return allocate(request); },
      [this](const release_endpoints& request) { return release(request); },
      [this](const reconcile_networks& request) { return reconcile(request); },
      [this](const list_networks& request) { return list(request); },
      [this](const inspect_network& request) -> caf::result<json_document> {
        const bool elsewhere = !request.scope.empty() && request.scope != "local";
        auto found = find(request.name);
        if (!found || elsewhere)
          return found ? caf_error(errc::not_found, "network " + request.name + " not found") : to_caf(found.error());
        if (auto down = unavailable(**found)) return *down;
        return delegate((*found)->handle, request);
      },
      [this](const find_network& request) -> caf::result<found_network> {
        auto found = find(request.name == "default" ? "bridge" : request.name);
        if (!found) return to_caf(found.error());
        found_network answer;
        answer.id = (*found)->record->id;
        answer.name = (*found)->record->name;
        answer.driver = (*found)->record->driver;
        return answer;
      },
      [this](const create_network& request) { return create(request); },
      [this](const remove_network& request) { return remove(request); },
      [this](const prune_networks& request) { return prune(request); },
      [this](const remove_idle_devices&) { return put_away(); },
  };
}

void network_manager::on_exit() {
  for (auto& [id, n] : networks_)
    if (n.handle) send_exit(n.handle, caf::exit_reason::user_shutdown);
  networks_.clear();
  const result<void> stopping = fail(errc::unavailable, "the engine is stopping");
  for (auto& then : std::exchange(after_round_, {})) then(stopping);
}

// ---- start: rows first, everything else waits (await)
void network_manager::load_networks() {
  load_rows load;
  load.from = table::networks;
  request(ctx_.store, caf::infinite, load)
      .await(
          [this](const loaded_rows& rows) {
            for (const auto& row : rows.rows) {
              auto parsed = network_from_document(row.document);
              if (parsed)
                records_[parsed->name] = std::move(*parsed);
              else
                log::error("network row set aside", log::kv("network", row.key),
                           log::kv("reason", parsed.error().message()));
            }
            load_endpoints();
          },
          [this](caf::error& e) { quit(e); });
}

void network_manager::load_endpoints() {
  load_rows load;
  load.from = table::endpoints;
  request(ctx_.store, caf::infinite, load)
      .await([this](const loaded_rows& rows) { look_at_host(parse_endpoints(rows)); },
             [this](caf::error& e) { quit(e); });
}

// Routes and addresses of the host, on the pool; like offload, but nothing else is served before.
void network_manager::look_at_host(std::vector<endpoint_record> endpoints) {
  auto seen = std::make_shared<result<host_view>>();
  async_request look;
  look.start = std::make_shared<async_start>(
      [pool = ctx_.pool.get(), seen, bridge = ctx_.config.bridge_name](std::function<void()> done) {
        pool->post([seen, bridge, done = std::move(done)] {
          *seen = view_host(bridge);
          done();
        });
      });
  request(ctx_.port->handle(), caf::infinite, std::move(look))
      .await([this, seen, endpoints = std::move(endpoints)](const async_done&) { begin(*seen, endpoints); },
             [this](caf::error& e) { quit(e); });
}

void network_manager::begin(const result<host_view>& host, const std::vector<endpoint_record>& endpoints) {
  if (!host) log::warn("routes of the host cannot be read", log::kv("reason", host.error().message()));
  commit_rows changed;
  for (const auto& [name, driver] : {std::pair{"bridge", "bridge"}, {"host", "host"}, {"none", "null"}}) {
    auto& record = records_[name];
    const auto before = record.id.empty() ? std::string{} : to_document(record);
    if (record.id.empty()) {
      record.id = random_hex(32);
      record.name = name;
      record.driver = driver;
      record.created = now_nanos();
    }
    if (record.name == "bridge") choose_addresses(record, host.value_or(host_view{}), endpoints);
    if (auto document = to_document(record); document != before) {
      row_change put;
      put.in = table::networks;
      put.key = record.id;
      put.unique = record.name;
      put.document = std::move(document);
      changed.changes.push_back(std::move(put));
    }
  }
  for (auto& [name, record] : records_) add_network(std::move(record), endpoints);
  records_.clear();
  if (changed.changes.empty()) return;
  // Ids are shown to users: they must be on record before anybody sees them.
  request(ctx_.store, caf::infinite, std::move(changed)).await([] {}, [this](caf::error& e) { quit(e); });
}

void network_manager::choose_addresses(network_record& record, const host_view& host,
                                       const std::vector<endpoint_record>& endpoints) {
  record.bridge = ctx_.config.bridge_name;
  const bool held = std::any_of(endpoints.begin(), endpoints.end(),
                                [&](const auto& e) { return e.network_id == record.id && e.address; });
  std::optional<bridge_addresses> stored;
  if (record.subnet) stored = bridge_addresses{*record.subnet, record.gateway};
  const auto chosen = choose_bridge_addresses(stored, held, host, ctx_.config.address_pools);
  if (!chosen) log::error("every address pool overlaps what the host uses: the network bridge has no addresses");
  record.subnet = chosen ? std::optional(chosen->subnet) : std::nullopt;
  record.gateway = chosen ? chosen->gateway : 0;
}

void network_manager::add_network(network_record record, const std::vector<endpoint_record>& endpoints) {
  known_network n;
  n.record = std::make_shared<const network_record>(std::move(record));
  const auto id = n.record->id;
  ids_[n.record->name] = id;
  for (const auto& e : endpoints)
    if (e.network_id == id) n.containers[e.container_id] = {e.container_name, e.id, true};
  start_child(networks_[id] = std::move(n), endpoints);
}

// ---- children
void network_manager::start_child(known_network& n, const std::vector<endpoint_record>& endpoints) {
  n.handle = spawn<network, caf::monitored>(ctx_, n.record, ports_, endpoints);
  n.address = n.handle.address();
}

void network_manager::child_ended(const caf::down_msg& down) {
  for (auto& [id, n] : networks_) {
    if (n.address != down.source) continue;
    n.handle = nullptr;
    const auto now = now_nanos();
    while (!n.failures.empty() && now - n.failures.front() > restart_window) n.failures.pop_front();
    n.failures.push_back(now);
    log::error("network actor failed, restarting it", log::kv("network", n.record->name),
               log::kv("reason", from_caf(down.reason).message()));
    if (n.failures.size() > restart_limit) {
      quit(caf_error(errc::internal, "network " + n.record->name + ": too many restarts"));
      return;
    }
    load_rows load;
    load.from = table::endpoints;
    request(ctx_.store, caf::infinite, load)
        .then(
            [this, id = id](const loaded_rows& rows) {
              const auto found = networks_.find(id);
              if (found == networks_.end() || found->second.handle) return;
              start_child(found->second, parse_endpoints(rows));
              ctx_.actors->restarted("/networks/" + found->second.record->name);
            },
            [this](caf::error& e) { quit(e); });
    return;
  }
}

std::optional<caf::error> network_manager::unavailable(const known_network& n) {
  if (n.handle) return std::nullopt;
  return caf_error(errc::unavailable, "network " + n.record->name + " is being restarted");
}

/// Full id, then name, then unique prefix of an id.
result<network_manager::known_network*> network_manager::find(const std::string& name) {
  if (const auto by_id = networks_.find(name); by_id != networks_.end()) return &by_id->second;
  if (const auto by_name = ids_.find(name); by_name != ids_.end()) return &networks_.at(by_name->second);
  std::vector<known_network*> matches;
  for (auto at = networks_.lower_bound(name); !name.empty() && at != networks_.end() && starts_with(at->first, name);
       ++at)
    matches.push_back(&at->second);
  if (matches.empty()) return fail(errc::not_found, "network " + name + " not found");
  if (matches.size() > 1)
    return fail(errc::invalid_argument, "network " + name + " is ambiguous (" + std::to_string(matches.size()) +
                                            " matches found based on ID prefix)");
  return matches[0];
}

network_manager_actor spawn_network_manager(caf::actor_system& system, engine_context& ctx) {
  return system.spawn<network_manager>(ctx);
}

}  // namespace arca
