#include "vm/network/address.hpp"

#include <arpa/inet.h>
#include <sys/random.h>

#include <charconv>

namespace arca::net {

std::optional<ip4> parse_ip4(std::string_view text) {
  if (text.size() > 15) return std::nullopt;
  in_addr parsed{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &parsed) != 1) return std::nullopt;
  return ntohl(parsed.s_addr);
}

std::string to_string(ip4 address) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += std::to_string((address >> shift) & 0xff);
    if (shift != 0) out += '.';
  }
  return out;
}

std::optional<subnet4> parse_subnet4(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_ip4(text.substr(0, slash));
  const auto digits = text.substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || digits.empty() || failed != std::errc{} || end != digits.data() + digits.size() || prefix > 32)
    return std::nullopt;
  return subnet4{*address, static_cast<uint8_t>(prefix)};
}

std::string to_string(const subnet4& s) {
  return to_string(s.address) + '/' + std::to_string(s.prefix);
}

std::optional<mac_address> parse_mac(std::string_view text) {
  mac_address mac{};
  // "0242.ac11.0099"
  if (text.size() == 14 && text[4] == '.' && text[9] == '.') {
    std::string pairs;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i == 4 || i == 9) continue;
      pairs += text[i];
      if (pairs.size() % 3 == 2 && pairs.size() < 17) pairs += ':';
    }
    return parse_mac(pairs);
  }
  if (text.size() != 17) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    const auto pair = text.substr(i * 3, 2);
    const auto [end, failed] = std::from_chars(pair.data(), pair.data() + 2, mac[i], 16);
    if (failed != std::errc{} || end != pair.data() + 2) return std::nullopt;
    if (i + 1 < mac.size() && (text[i * 3 + 2] != text[2] || (text[2] != ':' && text[2] != '-'))) return std::nullopt;
  }
  return mac;
}

std::string to_string(const mac_address& m) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const auto byte : m) {
    if (!out.empty()) out += ':';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

mac_address random_mac() {
  mac_address mac{};
  // At most 256 bytes: getrandom neither fails nor is cut short once the pool is ready (man 2 getrandom).
  while (getrandom(mac.data(), mac.size(), 0) != static_cast<ssize_t>(mac.size())) {
  }
  mac[0] = static_cast<uint8_t>((mac[0] & 0xfe) | 0x02);
  return mac;
}

}  // namespace arca::net
