#include "actors/network/bridge_options.hpp"

#include <charconv>

#include "persistence/base/text.hpp"

namespace arca {
namespace {
error misread(const std::string& label, const std::string& value, const std::string& why) {
  return {errc::invalid_argument, "failed to parse " + label + " value: " + value + " (" + why + ")"};
}

// strconv.ParseBool.
result<bool> parse_bool(const std::string& label, const std::string& value) {
  for (const char* yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (value == yes) return true;
  for (const char* no : {"0", "f", "F", "FALSE", "false", "False"})
    if (value == no) return false;
  return fail(misread(label, value, "strconv.ParseBool: parsing " + go_quote(value) + ": invalid syntax"));
}

result<uint32_t> parse_mtu(const std::string& label, const std::string& value) {
  const char* begin = value.data() + (starts_with(value, "+") ? 1 : 0);
  const char* end = value.data() + value.size();
  int64_t mtu = 0;
  const auto [at, bad] = std::from_chars(begin, end, mtu);
  if (bad == std::errc::result_out_of_range)
    return fail(misread(label, value, "strconv.Atoi: parsing " + go_quote(value) + ": value out of range"));
  if (bad != std::errc{} || at != end)
    return fail(misread(label, value, "strconv.Atoi: parsing " + go_quote(value) + ": invalid syntax"));
  if (mtu == 0) return uint32_t{1500};
  if (mtu < 68 || mtu > 65535) return fail(errc::invalid_argument, "invalid MTU number: " + std::to_string(mtu));
  return static_cast<uint32_t>(mtu);
}

result<void> read_gateway_mode(network_record& n, const std::string& label, const std::string& value) {
  if (value == "nat") return {};
  if (value == "routed" && ends_with(label, "ipv4")) n.routed = true;
  if (value == "routed") return {};
  if (value == "isolated" || value == "nat-unprotected")
    return fail(errc::unsupported, "gateway mode " + value + " of a network is not supported by Arca yet");
  return fail(misread(label, value, "unknown gateway mode " + value));
}

result<void> apply(network_record& n, const std::string& label, const std::string& value) {
  constexpr std::string_view bridge = "com.docker.network.bridge.";
  if (label == "com.docker.network.driver.mtu") {
    ARCA_TRY(mtu, parse_mtu(label, value));
    n.mtu = mtu;
    return {};
  }
  if (label == "com.docker.network.container_iface_prefix")
    return fail(errc::unsupported, "the network option " + label + " is not supported by Arca yet");
  if (!starts_with(label, bridge)) return {};
  const auto name = label.substr(bridge.size());
  if (name == "name") {
    if (!value.empty()) n.bridge = value;
  } else if (name == "enable_icc") {
    ARCA_TRY(on, parse_bool(label, value));
    n.icc = on;
  } else if (name == "enable_ip_masquerade") {
    ARCA_TRY(on, parse_bool(label, value));
    n.masquerade = on;
  } else if (name == "host_binding_ipv4") {
    if (!net::parse_ip4(value)) return fail(misread(label, value, "invalid ip"));
    if (value != "0.0.0.0") n.host_binding = value;
  } else if (name == "gateway_mode_ipv4" || name == "gateway_mode_ipv6") {
    return read_gateway_mode(n, label, value);
  } else if (name == "inhibit_ipv4" || name == "trusted_host_interfaces" || name == "default_bridge") {
    return fail(errc::unsupported, "the network option " + label + " is not supported by Arca yet");
  }
  return {};
}
}  // namespace

result<void> apply_bridge_options(network_record& n) {
  for (const auto& [label, value] : n.options) ARCA_CHECK(apply(n, label, value));
  return {};
}

}  // namespace arca
