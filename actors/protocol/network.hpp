// network_manager and its network children: the built-in networks bridge, host and none, and the user's own. A network
// actor owns its addresses; every address in use is a row of `endpoints`, unique per network.
#pragma once
#include "actors/protocol/image.hpp"
#include "actors/protocol/message.hpp"

namespace arca {

/// A published port. As a wish, first and last are the host ports to choose from (0: any of the ephemeral range) and
/// host_ip may be empty (every address); as an answer first == last is the port and host_ip the address taken.
struct port_binding {
  std::string protocol;  ///< tcp, udp, sctp
  uint16_t container_port = 0;
  std::string host_ip;
  uint16_t first = 0, last = 0;
  ARCA_MESSAGE(port_binding, protocol, container_port, host_ip, first, last)
};

/// Reserves an address and MAC for one start of a container and makes sure that the network's device and rules exist.
struct allocate_endpoint {
  std::string network;  ///< name or id: "bridge" (also "default"), "host", "none"
  std::string container_id, container_name;
  std::string wanted_ip4, wanted_mac;  ///< empty: any
  std::vector<port_binding> ports;     ///< to publish; host, none and internal networks ignore them
  ARCA_MESSAGE(allocate_endpoint, network, container_id, container_name, wanted_ip4, wanted_mac, ports)
};
struct endpoint {
  std::string network_name, network_id, endpoint_id;
  std::string driver;       ///< bridge, host, null
  std::string bridge;       ///< host device to join; empty for host and none
  std::string host_device;  ///< name for the host end of the veth
  std::string mac, ip4, gateway4;
  int32_t prefix4 = 0;
  uint32_t mtu = 1500;
  std::vector<port_binding> ports;  ///< published: they work from now on
  ARCA_MESSAGE(endpoint, network_name, network_id, endpoint_id, driver, bridge, host_device, mac, ip4, gateway4,
               prefix4, mtu, ports)
};
/// Gives back every endpoint of the container. Unknown containers are fine.
struct release_endpoints {
  std::string container_id;
  /// Its network namespace goes on without it, used by other containers: the device is removed before the address is
  /// free. (Otherwise the device goes with the namespace.)
  bool remove_devices = false;
  ARCA_MESSAGE(release_endpoints, container_id, remove_devices)
};
/// After a restart of the daemon: which containers run. Endpoints of all others are given back, host devices of nobody
/// removed, device and rules rebuilt.
struct reconcile_networks {
  std::vector<std::string> running;
  ARCA_MESSAGE(reconcile_networks, running)
};
struct list_networks {
  std::string filters;
  ARCA_MESSAGE(list_networks, filters)
};
struct inspect_network {
  std::string name;
  bool verbose = false;
  std::string scope;  ///< of the query; anything but "" and "local" finds nothing
  ARCA_MESSAGE(inspect_network, name, verbose, scope)
};
/// Only what create's checks need: errc::not_found "network NAME not found", else the network's id.
struct find_network {
  std::string name;
  ARCA_MESSAGE(find_network, name)
};
struct found_network {
  std::string id, name, driver;
  ARCA_MESSAGE(found_network, id, name, driver)
};

/// docker network create: `request` is a decoded network.CreateRequest. Answers Docker's {"Id", "Warning"}.
struct create_network {
  std::string request;
  ARCA_MESSAGE(create_network, request)
};
/// errc::forbidden for the built-in ones and for networks with endpoints.
struct remove_network {
  std::string name;
  ARCA_MESSAGE(remove_network, name)
};
/// Removes every network of the user without endpoints that the filters (label, label!, until) let through.
struct prune_networks {
  std::string filters;
  ARCA_MESSAGE(prune_networks, filters)
};

/// The engine ends: devices and rules of networks that no running container uses go. They come back when needed.
struct remove_idle_devices {
  bool unused = false;
  ARCA_MESSAGE(remove_idle_devices, unused)
};

using network_manager_actor = caf::typed_actor<
    caf::replies_to<allocate_endpoint>::with<endpoint>, caf::replies_to<release_endpoints>::with<void>,
    caf::replies_to<reconcile_networks>::with<void>, caf::replies_to<list_networks>::with<json_document>,
    caf::replies_to<inspect_network>::with<json_document>, caf::replies_to<find_network>::with<found_network>,
    caf::replies_to<create_network>::with<json_document>, caf::replies_to<remove_network>::with<void>,
    caf::replies_to<prune_networks>::with<json_document>, caf::replies_to<remove_idle_devices>::with<void>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_networks, caf::first_custom_type_id + 70)
CAF_ADD_TYPE_ID(arca_networks, (arca::allocate_endpoint))
CAF_ADD_TYPE_ID(arca_networks, (arca::endpoint))
CAF_ADD_TYPE_ID(arca_networks, (arca::release_endpoints))
CAF_ADD_TYPE_ID(arca_networks, (arca::reconcile_networks))
CAF_ADD_TYPE_ID(arca_networks, (arca::list_networks))
CAF_ADD_TYPE_ID(arca_networks, (arca::inspect_network))
CAF_ADD_TYPE_ID(arca_networks, (arca::find_network))
CAF_ADD_TYPE_ID(arca_networks, (arca::found_network))
CAF_ADD_TYPE_ID(arca_networks, (std::vector<arca::endpoint>))
CAF_ADD_TYPE_ID(arca_networks, (arca::port_binding))
CAF_ADD_TYPE_ID(arca_networks, (std::vector<arca::port_binding>))
CAF_ADD_TYPE_ID(arca_networks, (arca::create_network))
CAF_ADD_TYPE_ID(arca_networks, (arca::remove_network))
CAF_ADD_TYPE_ID(arca_networks, (arca::prune_networks))
CAF_ADD_TYPE_ID(arca_networks, (arca::remove_idle_devices))
CAF_END_TYPE_ID_BLOCK(arca_networks)
