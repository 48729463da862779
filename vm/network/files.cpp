#include "vm/network/files.hpp"

#include <arpa/inet.h>

#include "persistence/base/text.hpp"

namespace arca::net {
namespace {
// A record is an address, a tab and the names (format of Docker's own file).
void add_record(std::string& file, std::string_view address, std::string_view names) {
  file.append(address).append("\t").append(names).append("\n");
}

std::vector<std::string> fields(std::string_view line) {
  std::vector<std::string> out;
  for (size_t at = 0; at < line.size();) {
    const size_t begin = line.find_first_not_of(" \t\r\v\f", at);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r\v\f", begin), line.size());
    out.emplace_back(line.substr(begin, end - begin));
    at = end;
  }
  return out;
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

enum class family { none, v4, v6 };
family family_of(const std::string& address, bool& loopback) {
  in_addr four{};
  in6_addr six{};
  if (inet_pton(AF_INET, address.c_str(), &four) == 1) {
    loopback = (ntohl(four.s_addr) >> 24) == 127;
    return family::v4;
  }
  if (inet_pton(AF_INET6, address.substr(0, address.find('%')).c_str(), &six) == 1) {
    loopback = IN6_IS_ADDR_LOOPBACK(&six);
    return family::v6;
  }
  return family::none;
}

struct resolv_conf {
  std::vector<std::string> servers, search, options, other, invalid;
};

resolv_conf parse(std::string_view text) {
  resolv_conf rc;
  for (const auto& line : split(text, '\n')) {
    auto words = fields(line);
    if (words.empty() || words[0][0] == '#' || words[0][0] == ';') continue;
    const std::string keyword = words[0];
    const bool known = keyword == "nameserver" || keyword == "domain" || keyword == "search" || keyword == "options";
    if (!known) {
      rc.other.push_back(line);
      continue;
    }
    if (words.size() < 2) continue;
    words.erase(words.begin());
    bool loopback = false;
    if (keyword == "nameserver")
      (family_of(words[0], loopback) == family::none ? rc.invalid : rc.servers).push_back(words[0]);
    else if (keyword == "options")
      rc.options.insert(rc.options.end(), words.begin(), words.end());
    else
      rc.search = std::move(words);  // the last one counts
  }
  return rc;
}

bool has_ndots(const std::vector<std::string>& options) {
  for (const auto& option : options)
    if (option == "ndots" || starts_with(option, "ndots:")) return true;
  return false;
}

// Loopback servers of the host mean nothing inside. True when none was left and the public ones stand in.
bool drop_unreachable_servers(std::vector<std::string>& servers, bool ipv6) {
  std::erase_if(servers, [ipv6](const std::string& server) {
    bool loopback = false;
    const auto kind = family_of(server, loopback);
    return loopback || (kind == family::v6 && !ipv6);
  });
  if (!servers.empty()) return false;
  servers = {"8.8.8.8", "8.8.4.4"};
  if (ipv6) servers.insert(servers.end(), {"2001:4860:4860::8888", "2001:4860:4860::8844"});
  return true;
}
}  // namespace

result<std::string> hosts_file(const hosts_spec& spec) {
  std::string file;
  add_record(file, "127.0.0.1", "localhost");
  if (spec.ipv6) {
    add_record(file, "::1", "localhost ip6-localhost ip6-loopback");
    add_record(file, "fe00::", "ip6-localnet");
    add_record(file, "ff00::", "ip6-mcastprefix");
    add_record(file, "ff02::1", "ip6-allnodes");
    add_record(file, "ff02::2", "ip6-allrouters");
  }
  for (const auto& entry : spec.extra_hosts) {
    const auto colon = entry.find(':');
    if (colon == std::string::npos) return fail(errc::invalid_argument, "bad format for add-host: " + go_quote(entry));
    std::string address = entry.substr(colon + 1);
    if (address == "host-gateway") {
      if (spec.host_gateway.empty())
        return fail(errc::invalid_argument, "unable to derive the IP value for host-gateway");
      address = spec.host_gateway;
    }
    if (address.size() > 2 && address.front() == '[' && address.back() == ']')
      address = address.substr(1, address.size() - 2);
    add_record(file, address, entry.substr(0, colon));
  }
  for (const auto& line : spec.links) file += line + '\n';
  // The name may come whole in hostname or split over hostname and domainname: the full name and the first label.
  const std::string full = spec.domainname.empty() ? spec.hostname : spec.hostname + '.' + spec.domainname;
  const auto dot = full.find('.');
  for (const auto& address : spec.addresses)
    add_record(file, address, dot == std::string::npos ? full : full + ' ' + full.substr(0, dot));
  return file;
}

std::string hostname_file(std::string_view hostname) {
  return std::string(hostname) + '\n';
}

std::string resolv_file(const resolv_spec& spec) {
  if (spec.host_network && spec.dns.empty() && spec.search.empty() && spec.options.empty()) return spec.host_file;
  auto rc = parse(spec.host_file);
  std::string ndots_from = has_ndots(rc.options) ? "host" : "";
  std::vector<std::string> overrides;
  if (!spec.dns.empty()) {
    rc.servers = spec.dns;
    overrides.emplace_back("nameservers");
  }
  if (!spec.search.empty()) {
    rc.search = spec.search;
    std::erase(rc.search, ".");  // "." alone means: no search list
    overrides.emplace_back("search");
  }
  if (!spec.options.empty()) {
    rc.options = spec.options;
    ndots_from = has_ndots(rc.options) ? "override" : "";
    overrides.emplace_back("options");
  }
  const bool defaults = !spec.host_network && spec.dns.empty() && drop_unreachable_servers(rc.servers, spec.ipv6);

  std::string file =
      "# Generated by Docker Engine.\n"
      "# This file can be edited; Docker Engine will not make further changes once it\n"
      "# has been modified.\n\n";
  for (const auto& server : rc.servers) file += "nameserver " + server + '\n';
  if (!rc.search.empty()) file += "search " + join(rc.search) + '\n';
  if (!rc.options.empty()) file += "options " + join(rc.options) + '\n';
  for (const auto& line : rc.other) file += line + '\n';
  file += "\n# Based on host file: '" + spec.host_path + '\'' + (spec.host_network ? "" : " (legacy)") + '\n';
  if (defaults) file += "# Used default nameservers.\n";
  if (!rc.invalid.empty()) file += "# Invalid nameservers: [" + join(rc.invalid) + "]\n";
  file += "# Overrides: [" + join(overrides) + "]\n";
  if (!ndots_from.empty()) file += "# Option ndots from: " + ndots_from + '\n';
  return file;
}

std::string host_resolv_path(std::string_view etc_resolv_conf) {
  const auto rc = parse(etc_resolv_conf);
  return rc.servers.size() == 1 && rc.servers[0] == "127.0.0.53" ? "/run/systemd/resolve/resolv.conf"
                                                                 : "/etc/resolv.conf";
}

}  // namespace arca::net
