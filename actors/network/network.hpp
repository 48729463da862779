// One network: who has which address. It never touches a device but to sweep the host ends that nobody owns.
#pragma once
#include <caf/typed_event_based_actor.hpp>
#include <functional>
#include <set>

#include "actors/core/context.hpp"
#include "actors/network/ipam.hpp"
#include "actors/network/network_record.hpp"
#include "actors/network/published_ports.hpp"

namespace arca {

/// What a network's actor answers; the manager delegates to it.
using network_actor =
    caf::typed_actor<caf::replies_to<allocate_endpoint>::with<endpoint>, caf::replies_to<release_endpoints>::with<void>,
                     caf::replies_to<reconcile_networks>::with<void>,
                     caf::replies_to<inspect_network>::with<json_document>>;

class network : public tracked<network_actor::base> {
 public:
  /// `endpoints`: the network's rows as an earlier daemon, or an earlier life of this actor, left them.
  network(caf::actor_config& config, engine_context& ctx, std::shared_ptr<const network_record> record,
          std::shared_ptr<published_ports> ports, const std::vector<endpoint_record>& endpoints);
  behavior_type make_behavior() override;

 private:
  struct entry {
    endpoint_record row;
    bool inherited = false;  ///< from a row: dropped by reconcile unless its container runs
  };

  caf::result<endpoint> allocate(const allocate_endpoint& request);
  result<endpoint_record> reserve(const allocate_endpoint& request);
  result<void> take_address(endpoint_record& row, const allocate_endpoint& request);
  result<std::vector<published_port>> publish(const endpoint_record& row, const std::vector<port_binding>& ports);
  caf::result<void> release(const release_endpoints& gone);
  void give_back(const std::string& container_id, caf::typed_response_promise<void> promise);
  caf::result<void> reconcile(const reconcile_networks& request);
  void sweep(caf::typed_response_promise<void> promise);
  /// Forgets the endpoint and frees its address; the change erases its row.
  row_change drop(const std::string& container_id);
  std::string unused(const std::function<std::string()>& make) const;
  void keep(const endpoint_record& row, bool inherited);
  endpoint answer(const endpoint_record& row) const;

  engine_context& ctx_;
  std::shared_ptr<const network_record> record_;
  std::shared_ptr<published_ports> ports_;
  std::optional<ip_pool> pool_;
  std::map<std::string, entry> by_container_;
  std::set<std::string> names_;  ///< MACs and devices of the endpoints
};

}  // namespace arca
