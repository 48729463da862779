// The host ports that containers publish: who has which, the sockets that hold them and the relay behind these. Lives
// beside the network actors, so that the restart of one gives no port away. Thread-safe; never blocks longer than
// bind().
#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "actors/network/network_record.hpp"
#include "actors/protocol/network.hpp"
#include "vm/network/firewall.hpp"
#include "vm/network/port_relay.hpp"

namespace arca {

class published_ports {
 public:
  /// Takes every port wished for or none. `default_ip` counts where a wish names no address. Errors in Docker's words
  /// (errc::internal), without what comes before "Bind for" or "failed to bind".
  result<std::vector<published_port>> publish(const std::string& endpoint, net::ip4 container,
                                              const std::vector<port_binding>& wishes, const std::string& default_ip);
  /// Takes the ports of an earlier daemon's endpoint again; what somebody else has meanwhile is only logged.
  void restore(const std::string& endpoint, net::ip4 container, const std::vector<published_port>& ports);
  void release(const std::string& endpoint);

  /// For the firewall: all IPv4 ports.
  std::vector<net::port_rule> rules() const;
  /// Grows with every change of the rules.
  uint64_t version() const;

 private:
  struct holding {
    published_port port;
    net::ip4 container = 0;
    uint64_t relay = 0;  ///< 0: none
    unique_fd socket;    ///< where there is no relay
  };
  struct refusal {
    int why = 0;        ///< errno of bind
    bool ours = false;  ///< another container of this engine has it
    std::string ip;
  };

  std::optional<refusal> take(std::vector<holding>& into, const published_port& port, net::ip4 container);
  result<void> take_wish(std::vector<holding>& into, const port_binding& wish, net::ip4 container,
                         const std::string& default_ip);
  bool taken(const std::vector<holding>& also, const published_port& port) const;
  void give_back(std::vector<holding>& all, size_t from);

  mutable std::mutex lock_;
  std::map<std::string, std::vector<holding>> by_endpoint_;
  net::port_relay relay_;
  uint16_t next_ = 0;  ///< of the ephemeral range: a port rests before it is given again
  uint64_t version_ = 0;
};

}  // namespace arca
