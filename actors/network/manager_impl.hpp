// The actor behind network_manager.hpp. Its parts, one file each: start and children (network_manager), endpoints and
// the devices they need (network_endpoints), create, remove, prune and list (network_admin).
#pragma once
#include <caf/typed_event_based_actor.hpp>
#include <deque>
#include <functional>
#include <set>

#include "actors/core/promise.hpp"
#include "actors/network/network.hpp"

namespace arca {

class network_manager : public tracked<network_manager_actor::base> {
 public:
  network_manager(caf::actor_config& config, engine_context& ctx);
  behavior_type make_behavior() override;
  void on_exit() override;

 private:
  struct user {
    std::string name, endpoint_id;
    bool inherited = false;  ///< of an earlier daemon, until reconciled
  };
  struct known_network {
    std::shared_ptr<const network_record> record;
    network_actor handle;
    caf::actor_addr address;
    std::map<std::string, user> containers;  ///< that asked for an endpoint and have not given it back
    uint32_t device_index = 0;               ///< of the bridge when it was last prepared; 0: not yet
    std::deque<int64_t> failures;
    bool going = false;  ///< being removed: nobody joins any more
  };
  using outcome = std::function<void(const result<void>&)>;

  // ---- start and children (network_manager.cpp)
  void load_networks();
  void load_endpoints();
  void look_at_host(std::vector<endpoint_record> endpoints);
  void begin(const result<host_view>& host, const std::vector<endpoint_record>& endpoints);
  void choose_addresses(network_record& record, const host_view& host, const std::vector<endpoint_record>& endpoints);
  void add_network(network_record record, const std::vector<endpoint_record>& endpoints);
  void start_child(known_network& n, const std::vector<endpoint_record>& endpoints);
  void child_ended(const caf::down_msg& down);
  static std::optional<caf::error> unavailable(const known_network& n);
  result<known_network*> find(const std::string& name);

  // ---- endpoints and devices (network_endpoints.cpp)
  caf::result<endpoint> allocate(const allocate_endpoint& wanted);
  void ask_child(const allocate_endpoint& wanted, caf::typed_response_promise<endpoint> promise);
  void publish(const endpoint& e, const std::string& container, caf::typed_response_promise<endpoint> promise);
  static bool ready(const known_network& n);
  /// Makes the devices of these networks, removes those of `leaving`, and loads one firewall for all and every
  /// published port. Rounds follow each other; who comes during one gets the next.
  void prepare(std::set<std::string> ids, outcome then, std::set<std::string> leaving = {});
  void run_round();
  caf::result<void> release(const release_endpoints& gone);
  caf::result<void> reconcile(const reconcile_networks& running);
  caf::result<void> put_away();
  template <class Message>
  caf::result<void> ask_all(const std::vector<known_network*>& children, const Message& message);

  // ---- the user's networks (network_admin.cpp)
  caf::result<json_document> create(const create_network& request);
  void create_on(const create_network& request, const std::vector<net::subnet4>& host,
                 caf::typed_response_promise<json_document> promise);
  caf::result<void> remove(const remove_network& request);
  result<void> removable(const known_network& n) const;
  void remove_known(const std::string& id, outcome then);
  caf::result<json_document> prune(const prune_networks& request);
  caf::result<json_document> list(const list_networks& asked);
  void event(const std::string& action, const std::string& id, std::map<std::string, std::string> attributes);

  engine_context& ctx_;
  std::shared_ptr<published_ports> ports_ = std::make_shared<published_ports>();
  std::map<std::string, network_record> records_;  ///< by name, while starting
  std::map<std::string, known_network> networks_;  ///< by id
  std::map<std::string, std::string> ids_;         ///< by name

  bool in_round_ = false;
  std::set<std::string> wanted_, leaving_;  ///< ids for the next round
  std::vector<outcome> after_round_;
  uint64_t loaded_version_ = 0;  ///< of the published ports in the firewall
};

}  // namespace arca
