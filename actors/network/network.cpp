#include "actors/network/network.hpp"

#include "actors/core/promise.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/links.hpp"

namespace arca {

network::network(caf::actor_config& config, engine_context& ctx, std::shared_ptr<const network_record> record,
                 std::shared_ptr<published_ports> ports, const std::vector<endpoint_record>& endpoints)
    : tracked(config, *ctx.actors, "/networks/" + record->name, "network"),
      ctx_(ctx),
      record_(std::move(record)),
      ports_(std::move(ports)) {
  if (record_->subnet) {
    pool_.emplace(*record_->subnet, record_->gateway, record_->name + " (" + record_->id + ")", record_->ip_range);
    for (const auto& given : record_->ipam)
      for (const auto& [name, text] : given.auxiliary)
        if (const auto address = net::parse_ip4(text)) (void)pool_->reserve(*address);
  }
  for (const auto& row : endpoints) {
    if (row.network_id != record_->id) continue;
    if (row.address && pool_ && !pool_->reserve(*row.address))
      log::warn("address of an endpoint row is not of its network", log::kv("network", record_->name),
                log::kv("container", row.container_id), log::kv("address", net::to_string(*row.address)));
    if (row.address) ports_->restore(row.id, *row.address, row.ports);
    keep(row, true);
  }
}

network::behavior_type network::make_behavior() {
  set_exception_handler([this](std::exception_ptr&) {
    return caf_error(errc::internal, "network " + record_->name + " failed unexpectedly");
  });
  return {
      [this](const allocate_endpoint& request) { return allocate(request); },
      [this](const release_endpoints& request) { return release(request); },
      [this](const reconcile_networks& request) { return reconcile(request); },
      [this](const inspect_network&) {
        std::map<std::string, endpoint_record> shown;
        for (const auto& [id, e] : by_container_) shown.emplace(id, e.row);
        json_document d;
        d.text = network_json(*record_, shown);
        return d;
      },
  };
}

std::string network::unused(const std::function<std::string()>& make) const {
  for (;;)
    if (auto name = make(); names_.count(name) == 0) return name;
}

void network::keep(const endpoint_record& row, bool inherited) {
  if (!row.mac.empty()) names_.insert(row.mac);
  if (!row.host_device.empty()) names_.insert(row.host_device);
  by_container_[row.container_id] = {row, inherited};
}

result<endpoint_record> network::reserve(const allocate_endpoint& request) {
  endpoint_record row;
  row.id = random_hex(32);
  row.network_id = record_->id;
  row.container_id = request.container_id;
  row.container_name = request.container_name;
  if (!pool_) return row;
  row.mac = unused([] { return net::to_string(net::random_mac()); });
  if (!request.wanted_mac.empty()) {
    const auto mac = net::parse_mac(lower(request.wanted_mac));
    if (!mac) return fail(errc::invalid_argument, "invalid MAC address " + request.wanted_mac);
    row.mac = net::to_string(*mac);
  }
  ARCA_CHECK(take_address(row, request));
  row.host_device = unused([] { return "veth" + random_hex(4).substr(0, 7); });
  if (request.ports.empty() || record_->internal) return row;
  auto published = publish(row, request.ports);
  if (!published) {
    pool_->release(*row.address);
    return fail(published.error().wrap("driver failed programming external connectivity on endpoint " +
                                       row.container_name + " (" + row.id + ")"));
  }
  row.ports = std::move(*published);
  return row;
}

result<std::vector<published_port>> network::publish(const endpoint_record& row,
                                                     const std::vector<port_binding>& ports) {
  if (record_->routed)
    return fail(errc::unsupported, "published ports in gateway mode routed are not supported by Arca yet");
  return ports_->publish(row.id, *row.address, ports, record_->host_binding);
}

result<void> network::take_address(endpoint_record& row, const allocate_endpoint& request) {
  if (request.wanted_ip4.empty()) {
    ARCA_TRY(address, pool_->next());
    row.address = address;
    return {};
  }
  if (record_->ipam.empty() && !record_->builtin())
    return fail(errc::invalid_argument,
                "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks "
                "with user configured subnets");
  const auto address = net::parse_ip4(request.wanted_ip4);
  if (!address) return fail(errc::invalid_argument, "invalid IPv4 address: " + request.wanted_ip4);
  ARCA_CHECK(pool_->reserve(*address));
  row.address = *address;
  return {};
}

caf::result<endpoint> network::allocate(const allocate_endpoint& request) {
  commit_rows batch;
  // One endpoint for a container: what an earlier start left is given back in the same transaction.
  if (by_container_.count(request.container_id) != 0) batch.changes.push_back(drop(request.container_id));
  auto row = reserve(request);
  if (!row) {
    if (!batch.changes.empty())
      this->request(ctx_.store, caf::infinite, std::move(batch))
          .then([] {}, [](caf::error&) { /* swept at the next start */ });
    return to_caf(row.error());
  }
  keep(*row, false);
  row_change put;
  put.in = table::endpoints;
  put.key = row->id;
  put.unique = unique_of(*row);
  put.document = to_document(*row);
  batch.changes.push_back(std::move(put));
  auto promise = make_response_promise<endpoint>();
  this->request(ctx_.store, caf::infinite, std::move(batch))
      .then([this, promise, row = *row]() mutable { promise.deliver(answer(row)); },
            [this, promise, row = *row](caf::error& e) mutable {
              const auto mine = by_container_.find(row.container_id);
              if (mine != by_container_.end() && mine->second.row.id == row.id) drop(row.container_id);
              promise.deliver(std::move(e));
            });
  return promise;
}

endpoint network::answer(const endpoint_record& row) const {
  endpoint e;
  e.network_name = record_->name;
  e.network_id = record_->id;
  e.endpoint_id = row.id;
  e.driver = record_->driver;
  e.mtu = record_->mtu;
  if (row.address) {
    e.bridge = record_->bridge;
    e.host_device = row.host_device;
    e.mac = row.mac;
    e.ip4 = net::to_string(*row.address);
    if (!record_->internal) e.gateway4 = net::to_string(record_->gateway);
    e.prefix4 = record_->subnet->prefix;
    for (const auto& p : row.ports) {
      port_binding b;
      b.protocol = p.protocol;
      b.container_port = p.container_port;
      b.host_ip = p.host_ip;
      b.first = b.last = p.host_port;
      e.ports.push_back(std::move(b));
    }
  }
  return e;
}

row_change network::drop(const std::string& container_id) {
  const auto found = by_container_.find(container_id);
  row_change change;
  change.in = table::endpoints;
  change.erase = true;
  change.key = found->second.row.id;
  ports_->release(found->second.row.id);
  if (pool_ && found->second.row.address) pool_->release(*found->second.row.address);
  names_.erase(found->second.row.mac);
  names_.erase(found->second.row.host_device);
  by_container_.erase(found);
  return change;
}

caf::result<void> network::release(const release_endpoints& gone) {
  const auto found = by_container_.find(gone.container_id);
  if (found == by_container_.end()) return caf::unit;
  auto promise = make_response_promise<void>();
  const auto& row = found->second.row;
  if (!gone.remove_devices || row.host_device.empty()) {
    give_back(gone.container_id, promise);
    return promise;
  }
  offload(
      this, *ctx_.port, *ctx_.pool, [device = row.host_device] { return net::remove_link(device); },
      [this, promise, container = gone.container_id, id = row.id](const result<void>& removed) mutable {
        if (!removed)
          log::warn("network device is left behind", log::kv("container", container),
                    log::kv("reason", removed.error().message()));
        // The container may have been started again meanwhile.
        const auto mine = by_container_.find(container);
        if (mine != by_container_.end() && mine->second.row.id == id)
          give_back(container, promise);
        else
          deliver_ok(promise);
      });
  return promise;
}

void network::give_back(const std::string& container_id, caf::typed_response_promise<void> promise) {
  commit_rows batch;
  batch.changes.push_back(drop(container_id));
  request(ctx_.store, caf::infinite, std::move(batch))
      .then([promise]() mutable { deliver_ok(promise); },
            [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
}

caf::result<void> network::reconcile(const reconcile_networks& asked) {
  const std::set<std::string> running(asked.running.begin(), asked.running.end());
  commit_rows batch;
  std::vector<std::string> gone;
  for (auto& [id, e] : by_container_) {
    if (e.inherited && running.count(id) == 0) gone.push_back(id);
    e.inherited = false;
  }
  for (const auto& id : gone) {
    log::info("endpoint of a container that does not run is given back", log::kv("network", record_->name),
              log::kv("container", id));
    batch.changes.push_back(drop(id));
  }
  auto promise = make_response_promise<void>();
  request(ctx_.store, caf::infinite, std::move(batch))
      .then([this, promise] { sweep(promise); }, [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
  return promise;
}

void network::sweep(caf::typed_response_promise<void> promise) {
  if (record_->bridge.empty()) {
    deliver_ok(promise);
    return;
  }
  // A device belongs to an endpoint before it is made, so what is listed first and unknown afterwards is nobody's.
  offload(
      this, *ctx_.port, *ctx_.pool, [bridge = record_->bridge] { return net::list_veths(bridge); },
      [this, promise](result<std::vector<std::string>> listed) mutable {
        if (!listed) {
          promise.deliver(to_caf(listed.error()));
          return;
        }
        for (const auto& [id, e] : by_container_) std::erase(*listed, e.row.host_device);
        if (listed->empty()) {
          deliver_ok(promise);
          return;
        }
        offload(
            this, *ctx_.port, *ctx_.pool,
            [devices = std::move(*listed)]() -> result<void> {
              for (const auto& device : devices) {
                log::info("network device of nobody is removed", log::kv("device", device));
                ARCA_CHECK(net::remove_link(device));
              }
              return {};
            },
            [promise](const result<void>& done) mutable {
              if (done)
                deliver_ok(promise);
              else
                promise.deliver(to_caf(done.error()));
            });
      });
}

}  // namespace arca
