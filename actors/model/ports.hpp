// Published ports of a container: what HostConfig asks for, and what inspect and list show of what was given.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"

namespace arca::model {

struct port_request {
  std::string protocol;  ///< tcp, udp, sctp
  uint16_t container_port = 0;
  std::string host_ip;           ///< as given; empty: every address
  uint16_t first = 0, last = 0;  ///< host ports to choose from; 0: any
};
/// The bindings of every exposed port; PublishAllPorts counts for those without. What is no port is left out, as Docker
/// does. A binding of a port that is not exposed publishes nothing.
std::vector<port_request> port_requests(const container_record& r);

struct given_port {
  std::string protocol;
  uint16_t container_port = 0;
  std::string host_ip;
  uint16_t host_port = 0;
};
/// container_record.ports: null when nothing is published.
nlohmann::json ports_document(const container_record& r, const std::vector<given_port>& given);

}  // namespace arca::model
