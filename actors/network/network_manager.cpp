#include "actors/network/network_manager.hpp"

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <deque>
#include <set>

#include "actors/core/promise.hpp"
#include "actors/network/network.hpp"
#include "actors/network/network_filters.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/firewall.hpp"
#include "vm/network/links.hpp"

namespace arca {
namespace {
constexpr size_t restart_limit = 5;  // failures of one child within restart_window before the manager gives up
constexpr int64_t restart_window = 30'000'000'000;

class network_manager : public tracked<network_manager_actor::base> {
 public:
  network_manager(caf::actor_config& config, engine_context& ctx)
      : tracked(config, *ctx.actors, "/networks", "network_manager"), ctx_(ctx) {}

  behavior_type make_behavior() override {
    set_exception_handler(
        [](std::exception_ptr&) { return caf_error(errc::internal, "networks failed unexpectedly"); });
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
    };
  }

  void on_exit() override {
    for (auto& [id, n] : networks_)
      if (n.handle) send_exit(n.handle, caf::exit_reason::user_shutdown);
    networks_.clear();
    for (auto& w : waiting_) w.promise.deliver(caf_error(errc::unavailable, "the engine is stopping"));
    waiting_.clear();
  }

 private:
  struct known_network {
    std::shared_ptr<const network_record> record;
    network_actor handle;
    caf::actor_addr address;
    std::set<std::string> containers;  ///< that asked for an endpoint and have not given it back
    uint32_t device_index = 0;         ///< of the bridge when it was last prepared; 0: not yet
    std::deque<int64_t> failures;
  };
  struct waiting_allocation {
    allocate_endpoint request;
    caf::typed_response_promise<endpoint> promise;
  };

  // ---- start: rows first, everything else waits (await)
  void load_networks() {
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

  void load_endpoints() {
    load_rows load;
    load.from = table::endpoints;
    request(ctx_.store, caf::infinite, load)
        .await([this](const loaded_rows& rows) { look_at_host(parse_endpoints(rows)); },
               [this](caf::error& e) { quit(e); });
  }

  static std::vector<endpoint_record> parse_endpoints(const loaded_rows& rows) {
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

  // Routes and addresses of the host, on the pool; like offload, but nothing else is served before.
  void look_at_host(std::vector<endpoint_record> endpoints) {
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

  static result<host_view> view_host(const std::string& bridge) {
    host_view view;
    ARCA_TRY(taken, net::host_subnets(bridge));
    ARCA_TRY(own, net::link_addresses(bridge));
    view.taken = std::move(taken);
    view.own = std::move(own);
    return view;
  }

  void begin(const result<host_view>& host, const std::vector<endpoint_record>& endpoints) {
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
    for (auto& [name, record] : records_) {
      known_network n;
      n.record = std::make_shared<const network_record>(std::move(record));
      const auto id = n.record->id;
      ids_[name] = id;
      for (const auto& e : endpoints)
        if (e.network_id == id) n.containers.insert(e.container_id);
      start_child(networks_[id] = std::move(n), endpoints);
    }
    records_.clear();
    if (changed.changes.empty()) return;
    // Ids are shown to users: they must be on record before anybody sees them.
    request(ctx_.store, caf::infinite, std::move(changed)).await([] {}, [this](caf::error& e) { quit(e); });
  }

  void choose_addresses(network_record& record, const host_view& host, const std::vector<endpoint_record>& endpoints) {
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

  // ---- children
  void start_child(known_network& n, const std::vector<endpoint_record>& endpoints) {
    n.handle = spawn<network, caf::monitored>(ctx_, n.record, endpoints);
    n.address = n.handle.address();
  }

  void child_ended(const caf::down_msg& down) {
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

  static std::optional<caf::error> unavailable(const known_network& n) {
    if (n.handle) return std::nullopt;
    return caf_error(errc::unavailable, "network " + n.record->name + " is being restarted");
  }

  /// Full id, then name, then unique prefix of an id.
  result<known_network*> find(const std::string& name) {
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

  // ---- requests
  caf::result<endpoint> allocate(const allocate_endpoint& wanted) {
    auto found = find(wanted.network == "default" || wanted.network.empty() ? "bridge" : wanted.network);
    if (!found) return to_caf(found.error());
    auto& n = **found;
    if (auto down = unavailable(n)) return *down;
    if (n.record->driver == "bridge" && !n.record->subnet)
      return caf_error(errc::internal, "all predefined address pools have been fully subnetted");
    if (ready(n)) {
      n.containers.insert(wanted.container_id);
      return delegate(n.handle, wanted);
    }
    waiting_allocation w{wanted, make_response_promise<endpoint>()};
    auto promise = w.promise;
    waiting_.push_back(std::move(w));
    if (!preparing_) prepare({&n});
    return promise;
  }

  static bool ready(const known_network& n) {
    if (n.record->driver != "bridge") return true;
    return n.device_index != 0 &&
           net::link_index(n.record->bridge) == n.device_index;  // one ioctl: somebody may remove it
  }

  /// Devices of these networks, and one firewall for them and all that were prepared before.
  void prepare(const std::vector<known_network*>& wanted) {
    struct outcome {
      std::map<std::string, uint32_t> index;  ///< by network id
      std::vector<std::string> notes;
    };
    std::vector<net::bridge_spec> devices;
    std::vector<net::bridge_rules> rules;
    std::vector<std::string> ids;
    for (auto& [id, n] : networks_) {
      const auto& r = *n.record;
      const bool now = std::find(wanted.begin(), wanted.end(), &n) != wanted.end();
      if (r.driver != "bridge" || !r.subnet || (!now && n.device_index == 0)) continue;
      rules.push_back({.bridge = r.bridge, .subnet = r.subnet->network()});
      if (!now) continue;
      devices.push_back({.name = r.bridge, .address = {r.gateway, r.subnet->prefix}, .mtu = r.mtu});
      ids.push_back(id);
    }
    preparing_ = true;
    offload(
        this, *ctx_.port, *ctx_.pool,
        [devices, rules, ids]() -> result<outcome> {
          outcome made;
          for (size_t i = 0; i < devices.size(); ++i) {
            ARCA_CHECK(net::ensure_bridge(devices[i]));
            made.index[ids[i]] = net::link_index(devices[i].name);
          }
          ARCA_CHECK(net::apply_firewall(rules));
          made.notes = net::firewall_notes();
          return made;
        },
        [this](const result<outcome>& made) {
          preparing_ = false;
          if (made) {
            for (const auto& [id, index] : made->index) networks_.at(id).device_index = index;
            for (const auto& note : made->notes) log::warn("packets may be dropped: " + note);
          } else {
            log::error("network device cannot be prepared", log::kv("reason", made.error().message()));
          }
          prepared(made ? result<void>{} : result<void>{fail(made.error())});
        });
  }

  void prepared(const result<void>& outcome) {
    auto waiting = std::exchange(waiting_, {});
    for (auto& w : waiting) {
      auto found = find(w.request.network == "default" || w.request.network.empty() ? "bridge" : w.request.network);
      if (!outcome || !found || !(*found)->handle) {
        w.promise.deliver(!outcome ? to_caf(outcome.error())
                                   : caf_error(errc::unavailable, "network " + w.request.network + " has just gone"));
        continue;
      }
      if (ready(**found)) {
        (*found)->containers.insert(w.request.container_id);
        request((*found)->handle, caf::infinite, w.request)
            .then([promise = w.promise](const endpoint& e) mutable { promise.deliver(e); },
                  [promise = w.promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
        continue;
      }
      waiting_.push_back(std::move(w));  // another network, or its device has vanished at once
      if (!preparing_) prepare({*found});
    }
  }

  caf::result<void> release(const release_endpoints& gone) {
    std::vector<known_network*> homes;
    for (auto& [id, n] : networks_)
      if (n.containers.erase(gone.container_id) != 0 && n.handle) homes.push_back(&n);
    if (homes.empty()) return caf::unit;
    if (homes.size() == 1) return delegate(homes[0]->handle, gone);
    return ask_all(homes, gone);
  }

  caf::result<void> reconcile(const reconcile_networks& running) {
    std::vector<known_network*> all, bridges;
    const std::set<std::string> alive(running.running.begin(), running.running.end());
    for (auto& [id, n] : networks_) {
      if (!n.handle) continue;
      all.push_back(&n);
      const bool used =
          std::any_of(n.containers.begin(), n.containers.end(), [&](const auto& c) { return alive.count(c) != 0; });
      // What an idle host still has of an earlier daemon is put right, but nothing is made before it is needed.
      if (n.record->driver == "bridge" && (used || net::link_index(n.record->bridge) != 0)) bridges.push_back(&n);
    }
    if (!bridges.empty() && !preparing_) prepare(bridges);
    return ask_all(all, running);
  }

  template <class Message>
  caf::result<void> ask_all(const std::vector<known_network*>& children, const Message& message) {
    struct progress {
      size_t open = 0;
      caf::error first;
      caf::typed_response_promise<void> promise;
    };
    auto p = std::make_shared<progress>();
    p->promise = make_response_promise<void>();
    p->open = children.size();
    auto done = [p](caf::error e) {
      if (e && !p->first) p->first = std::move(e);
      if (--p->open != 0) return;
      if (p->first)
        p->promise.deliver(std::move(p->first));
      else
        deliver_ok(p->promise);
    };
    for (auto* n : children)
      request(n->handle, caf::infinite, message)
          .then([done] { done({}); }, [done](caf::error& e) { done(std::move(e)); });
    if (children.empty()) deliver_ok(p->promise);
    return p->promise;
  }

  caf::result<json_document> list(const list_networks& asked) {
    auto filters = network_filters::parse(asked.filters);
    if (!filters) return to_caf(filters.error());
    json_document d;
    d.text = "[";
    for (const auto& [name, id] : ids_) {
      const auto& n = networks_.at(id);
      if (!filters->match(*n.record, !n.containers.empty())) continue;
      if (d.text.size() > 1) d.text += ',';
      d.text += network_json(*n.record, {});
    }
    d.text += ']';
    return d;
  }

  engine_context& ctx_;
  std::map<std::string, network_record> records_;  ///< by name, while starting
  std::map<std::string, known_network> networks_;  ///< by id
  std::map<std::string, std::string> ids_;         ///< by name
  std::vector<waiting_allocation> waiting_;        ///< for a device
  bool preparing_ = false;
};
}  // namespace

network_manager_actor spawn_network_manager(caf::actor_system& system, engine_context& ctx) {
  return system.spawn<network_manager>(ctx);
}

}  // namespace arca
