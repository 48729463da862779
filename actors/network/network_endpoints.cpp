// Endpoints: an address and its published ports for a start, and the devices and rules that they need.
#include <algorithm>

#include "actors/network/manager_impl.hpp"
#include "persistence/base/log.hpp"
#include "vm/network/firewall.hpp"
#include "vm/network/links.hpp"

namespace arca {

caf::result<endpoint> network_manager::allocate(const allocate_endpoint& wanted) {
  auto found = find(wanted.network == "default" || wanted.network.empty() ? "bridge" : wanted.network);
  if (!found) return to_caf(found.error());
  auto& n = **found;
  if (n.going) return caf_error(errc::not_found, "network " + wanted.network + " not found");
  if (n.record->config_only) return caf_error(errc::forbidden, "cannot create endpoint on configuration-only network");
  if (auto down = unavailable(n)) return *down;
  if (n.record->driver == "bridge" && !n.record->subnet)
    return caf_error(errc::internal, "all predefined address pools have been fully subnetted");
  auto promise = make_response_promise<endpoint>();
  n.containers[wanted.container_id] = {wanted.container_name, {}, false};  // from now on the network stays
  auto request = wanted;
  request.network = n.record->id;
  if (ready(n)) {
    ask_child(request, promise);
    return promise;
  }
  prepare({n.record->id}, [this, request, promise](const result<void>& prepared) mutable {
    if (prepared) {
      ask_child(request, promise);
      return;
    }
    if (const auto at = networks_.find(request.network); at != networks_.end())
      at->second.containers.erase(request.container_id);
    promise.deliver(to_caf(prepared.error()));
  });
  return promise;
}

void network_manager::ask_child(const allocate_endpoint& wanted, caf::typed_response_promise<endpoint> promise) {
  const auto at = networks_.find(wanted.network);
  if (at == networks_.end() || !at->second.handle) {
    promise.deliver(caf_error(errc::unavailable, "network " + wanted.network + " has just gone"));
    return;
  }
  request(at->second.handle, caf::infinite, wanted)
      .then([this, promise, id = wanted.container_id](const endpoint& e) { publish(e, id, promise); },
            [this, promise, wanted](caf::error& e) mutable {
              if (const auto home = networks_.find(wanted.network); home != networks_.end())
                home->second.containers.erase(wanted.container_id);
              promise.deliver(std::move(e));
            });
}

void network_manager::publish(const endpoint& e, const std::string& container,
                              caf::typed_response_promise<endpoint> promise) {
  if (const auto at = networks_.find(e.network_id); at != networks_.end())
    if (const auto mine = at->second.containers.find(container); mine != at->second.containers.end())
      mine->second.endpoint_id = e.endpoint_id;
  if (e.ports.empty()) {
    promise.deliver(e);
    return;
  }
  prepare({}, [this, e, container, promise](const result<void>& loaded) mutable {
    if (loaded) {
      promise.deliver(e);
      return;
    }
    release_endpoints gone;
    gone.container_id = container;
    if (const auto at = networks_.find(e.network_id); at != networks_.end()) {
      at->second.containers.erase(container);
      if (at->second.handle)
        request(at->second.handle, caf::infinite, gone).then([] {}, [](caf::error&) { /* swept */ });
    }
    promise.deliver(to_caf(loaded.error().wrap("driver failed programming external connectivity")));
  });
}

bool network_manager::ready(const known_network& n) {
  if (n.record->driver != "bridge") return true;
  return n.device_index != 0 &&
         net::link_index(n.record->bridge) == n.device_index;  // one ioctl: somebody may remove it
}

void network_manager::prepare(std::set<std::string> ids, outcome then, std::set<std::string> leaving) {
  wanted_.merge(ids);
  leaving_.merge(leaving);
  after_round_.push_back(std::move(then));
  if (!in_round_) run_round();
}

void network_manager::run_round() {
  struct made {
    std::map<std::string, uint32_t> index;  ///< by network id
    std::vector<std::string> notes;
  };
  std::vector<net::bridge_spec> devices;
  std::vector<net::bridge_rules> rules;
  std::vector<std::string> ids, doomed;
  for (auto& [id, n] : networks_) {
    const auto& r = *n.record;
    if (r.driver != "bridge" || !r.subnet) continue;
    if (leaving_.count(id) != 0) {
      n.device_index = 0;
      doomed.push_back(r.bridge);
      continue;
    }
    const bool now = wanted_.count(id) != 0;
    if (!now && n.device_index == 0) continue;
    rules.push_back({.bridge = r.bridge,
                     .subnet = r.subnet->network(),
                     .open = r.routed,
                     .masquerade = r.masquerade && !r.routed,
                     .icc = r.icc,
                     .internal = r.internal});
    if (!now) continue;
    devices.push_back({.name = r.bridge, .address = {r.gateway, r.subnet->prefix}, .mtu = r.mtu});
    ids.push_back(id);
  }
  in_round_ = true;
  wanted_.clear();
  leaving_.clear();
  const auto version = ports_->version();
  offload(
      this, *ctx_.port, *ctx_.pool,
      [devices, rules, ids, doomed, ports = ports_->rules()]() -> result<made> {
        made m;
        for (size_t i = 0; i < devices.size(); ++i) {
          ARCA_CHECK(net::ensure_bridge(devices[i]));
          m.index[ids[i]] = net::link_index(devices[i].name);
        }
        ARCA_CHECK(net::apply_firewall(rules, ports));
        if (!ports.empty())
          for (const auto& r : rules) ARCA_CHECK(net::route_loopback(r.bridge));
        for (const auto& bridge : doomed) ARCA_CHECK(net::remove_bridge(bridge));
        if (!devices.empty()) m.notes = net::firewall_notes();
        return m;
      },
      [this, version, waiting = std::exchange(after_round_, {})](const result<made>& m) {
        in_round_ = false;
        if (m) {
          loaded_version_ = version;
          for (const auto& [id, index] : m->index)
            if (const auto at = networks_.find(id); at != networks_.end()) at->second.device_index = index;
          for (const auto& note : m->notes) log::warn("packets may be dropped: " + note);
        } else {
          log::error("network devices or rules cannot be prepared", log::kv("reason", m.error().message()));
        }
        const result<void> answer = m ? result<void>{} : result<void>{fail(m.error())};
        for (const auto& then : waiting) then(answer);
        if (!after_round_.empty() && !in_round_) run_round();
      });
}

template <class Message>
caf::result<void> network_manager::ask_all(const std::vector<known_network*>& children, const Message& message) {
  struct progress {
    size_t open = 0;
    caf::error first;
    caf::typed_response_promise<void> promise;
  };
  auto p = std::make_shared<progress>();
  p->promise = make_response_promise<void>();
  p->open = children.size();
  auto done = [this, p](caf::error e) {
    if (e && !p->first) p->first = std::move(e);
    if (--p->open != 0) return;
    // What was given back may have published ports: the rules follow.
    if (ports_->version() != loaded_version_) prepare({}, [](const result<void>&) { /* logged */ });
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

caf::result<void> network_manager::release(const release_endpoints& gone) {
  std::vector<known_network*> homes;
  for (auto& [id, n] : networks_)
    if (n.containers.erase(gone.container_id) != 0 && n.handle) homes.push_back(&n);
  if (homes.empty()) return caf::unit;
  return ask_all(homes, gone);
}

caf::result<void> network_manager::reconcile(const reconcile_networks& running) {
  std::vector<known_network*> all;
  std::set<std::string> bridges;
  const std::set<std::string> alive(running.running.begin(), running.running.end());
  for (auto& [id, n] : networks_) {
    std::erase_if(n.containers, [&](const auto& c) { return c.second.inherited && alive.count(c.first) == 0; });
    for (auto& [container, u] : n.containers) u.inherited = false;
    if (!n.handle) continue;
    all.push_back(&n);
    const bool used =
        std::any_of(n.containers.begin(), n.containers.end(), [&](const auto& c) { return alive.count(c.first) != 0; });
    // What an idle host still has of an earlier daemon is put right, but nothing is made before it is needed.
    if (n.record->driver == "bridge" && (used || net::link_index(n.record->bridge) != 0)) bridges.insert(id);
  }
  if (!bridges.empty()) prepare(std::move(bridges), [](const result<void>&) { /* logged */ });
  return ask_all(all, running);
}

caf::result<void> network_manager::put_away() {
  std::set<std::string> idle;
  for (const auto& [id, n] : networks_)
    if (n.containers.empty() && !n.record->bridge.empty() && net::link_index(n.record->bridge) != 0) idle.insert(id);
  if (idle.empty()) return caf::unit;
  auto promise = make_response_promise<void>();
  prepare(
      {},
      [promise](const result<void>& done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
      },
      std::move(idle));
  return promise;
}

}  // namespace arca
