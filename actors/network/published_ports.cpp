#include "actors/network/published_ports.hpp"

#include <arpa/inet.h>

#include <cerrno>
#include <system_error>

#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/port_socket.hpp"

namespace arca {
namespace {
bool is_ip6(const std::string& ip) {
  return ip.find(':') != std::string::npos;
}
bool is_any(const std::string& ip) {
  return ip == "0.0.0.0" || ip == "::";
}
// Docker takes what is no address for none.
bool is_address(const std::string& ip) {
  in6_addr out{};
  return inet_pton(AF_INET, ip.c_str(), &out) == 1 || inet_pton(AF_INET6, ip.c_str(), &out) == 1;
}
// A host without IPv6 publishes on IPv4 alone.
bool without_ip6(const published_port& port, int why) {
  return port.host_ip == "::" && (why == EAFNOSUPPORT || why == EADDRNOTAVAIL);
}
}  // namespace

bool published_ports::taken(const std::vector<holding>& also, const published_port& port) const {
  const auto clash = [&](const std::vector<holding>& all) {
    for (const auto& h : all)
      if (h.port.protocol == port.protocol && h.port.host_port == port.host_port &&
          is_ip6(h.port.host_ip) == is_ip6(port.host_ip) &&
          (h.port.host_ip == port.host_ip || is_any(h.port.host_ip) || is_any(port.host_ip)))
        return true;
    return false;
  };
  if (clash(also)) return true;
  for (const auto& [endpoint, all] : by_endpoint_)
    if (clash(all)) return true;
  return false;
}

std::optional<published_ports::refusal> published_ports::take(std::vector<holding>& into, const published_port& port,
                                                              net::ip4 container) {
  if (taken(into, port)) return refusal{0, true, port.host_ip};
  auto socket = net::bind_port({port.protocol, port.host_ip, port.host_port});
  // Without SCTP in the kernel the port cannot be held, but neither can anybody else take it.
  const bool unheld = !socket && port.protocol == "sctp" && socket.error() == EPROTONOSUPPORT;
  if (!socket && !unheld) return refusal{socket.error(), false, port.host_ip};
  holding h{port, container, 0, {}};
  if (socket && port.protocol != "sctp") {
    auto relay = relay_.add(std::move(*socket), port.protocol == "udp", container, port.container_port);
    if (!relay) return refusal{EMFILE, false, port.host_ip};
    h.relay = *relay;
  } else if (socket) {
    h.socket = std::move(*socket);
  }
  into.push_back(std::move(h));
  return std::nullopt;
}

void published_ports::give_back(std::vector<holding>& all, size_t from) {
  for (size_t i = from; i < all.size(); ++i)
    if (all[i].relay != 0) relay_.remove(all[i].relay);
  all.erase(all.begin() + static_cast<ptrdiff_t>(from), all.end());
}

result<void> published_ports::take_wish(std::vector<holding>& into, const port_binding& wish, net::ip4 container,
                                        const std::string& default_ip) {
  if (wish.protocol != "tcp" && wish.protocol != "udp" && wish.protocol != "sctp")
    return fail(errc::internal, "unknown protocol");
  std::vector<std::string> addresses = {wish.host_ip};
  if (!is_address(wish.host_ip)) {
    if (default_ip.empty())
      addresses =
          wish.protocol == "sctp" ? std::vector<std::string>{"0.0.0.0"} : std::vector<std::string>{"0.0.0.0", "::"};
    else
      addresses = {default_ip};
  }
  const auto range = net::ephemeral_ports();
  const bool any = wish.first == 0;
  const uint32_t first = any ? range.first : wish.first, last = any ? range.last : std::max(wish.first, wish.last);
  const uint32_t count = last - first + 1;
  if (next_ < range.first || next_ > range.last) next_ = range.first;
  const uint32_t begin = any ? next_ : first;
  for (uint32_t i = 0; i < count; ++i) {
    published_port port{wish.protocol, "", static_cast<uint16_t>(first + (begin - first + i) % count),
                        wish.container_port};
    const size_t before = into.size();
    std::optional<refusal> refused;
    for (const auto& ip : addresses) {
      port.host_ip = ip;
      refused = take(into, port, container);
      if (refused && addresses.size() > 1 && without_ip6(port, refused->why)) refused.reset();
      if (refused) break;
    }
    if (!refused) {
      if (any) next_ = port.host_port == range.last ? range.first : port.host_port + 1;
      return {};
    }
    give_back(into, before);
    if (count > 1 && (refused->ours || refused->why == EADDRINUSE)) continue;
    const auto shown =
        (is_ip6(refused->ip) ? "[" + refused->ip + "]" : refused->ip) + ":" + std::to_string(port.host_port);
    if (refused->ours)
      return fail(errc::internal, "Bind for " + refused->ip + ":" + std::to_string(port.host_port) +
                                      " failed: port is already allocated");
    return fail(errc::internal, "failed to bind host port for " + shown + ":" + net::to_string(container) + ":" +
                                    std::to_string(wish.container_port) + "/" + wish.protocol + ": " +
                                    lower(std::generic_category().message(refused->why)));
  }
  return fail(errc::internal, "all ports are allocated");
}

result<std::vector<published_port>> published_ports::publish(const std::string& endpoint, net::ip4 container,
                                                             const std::vector<port_binding>& wishes,
                                                             const std::string& default_ip) {
  const std::lock_guard guard(lock_);
  std::vector<holding> mine;
  for (const auto& wish : wishes)
    if (auto done = take_wish(mine, wish, container, default_ip); !done) {
      give_back(mine, 0);
      return fail(done.error());
    }
  std::vector<published_port> ports;
  for (const auto& h : mine) ports.push_back(h.port);
  if (mine.empty()) return ports;
  by_endpoint_[endpoint] = std::move(mine);
  ++version_;
  return ports;
}

void published_ports::restore(const std::string& endpoint, net::ip4 container,
                              const std::vector<published_port>& ports) {
  const std::lock_guard guard(lock_);
  if (ports.empty() || by_endpoint_.count(endpoint) != 0) return;
  std::vector<holding> mine;
  for (const auto& port : ports) {
    const auto refused = take(mine, port, container);
    if (!refused) continue;
    log::warn("published port is in use by somebody else", log::kv("address", port.host_ip),
              log::kv("port", static_cast<int64_t>(port.host_port)), log::kv("endpoint", endpoint));
    if (!refused->ours) mine.push_back({port, container, 0, {}});
  }
  by_endpoint_[endpoint] = std::move(mine);
  ++version_;
}

void published_ports::release(const std::string& endpoint) {
  const std::lock_guard guard(lock_);
  const auto found = by_endpoint_.find(endpoint);
  if (found == by_endpoint_.end()) return;
  give_back(found->second, 0);
  by_endpoint_.erase(found);
  ++version_;
}

std::vector<net::port_rule> published_ports::rules() const {
  const std::lock_guard guard(lock_);
  std::vector<net::port_rule> all;
  for (const auto& [endpoint, holdings] : by_endpoint_)
    for (const auto& h : holdings) {
      const auto host = net::parse_ip4(h.port.host_ip);
      if (host) all.push_back({h.port.protocol, *host, h.port.host_port, h.container, h.port.container_port});
    }
  return all;
}

uint64_t published_ports::version() const {
  const std::lock_guard guard(lock_);
  return version_;
}

}  // namespace arca
