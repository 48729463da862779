// Sockets that hold a published port of the host, so that nobody else takes it and a taken one is noticed.
#pragma once
#include <cstdint>
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::net {

struct port_address {
  std::string protocol;  ///< tcp, udp, sctp
  std::string ip;        ///< IPv4 or IPv6 address of the host; "::" means IPv6 only
  uint16_t port = 0;
};

/// A non-blocking socket bound to the port (TCP and SCTP: listening). Error: errno, 0 never.
tl::expected<unique_fd, int> bind_port(const port_address& at);

/// First and last port that the host's kernel gives to clients; Docker takes published ports from there.
struct port_range {
  uint16_t first = 32768, last = 60999;
};
port_range ephemeral_ports();

}  // namespace arca::net
