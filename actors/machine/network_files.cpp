#include "actors/machine/network_files.hpp"

#include <arpa/inet.h>
#include <fcntl.h>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/files.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::launch {
namespace {

/// In place: a container of this file's inode may still be looking at it.
result<void> write_plain(const std::string& path, const std::string& text) {
  ARCA_TRY(file, fs::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
  return fs::write_all(file.get(), text);
}

bool is_address(const std::string& text) {
  in6_addr out{};
  return inet_pton(AF_INET, text.c_str(), &out) == 1 || inet_pton(AF_INET6, text.c_str(), &out) == 1;
}

}  // namespace

result<network_file_paths> write_network_files(const model::container_record& r, const std::string& container_dir,
                                               const std::vector<endpoint>& endpoints, bool host_network) {
  network_file_paths paths{r.hosts_path, r.hostname_path, r.resolv_path};
  if (paths.hosts.empty()) paths.hosts = container_dir + "/hosts";
  if (paths.hostname.empty()) paths.hostname = container_dir + "/hostname";
  if (paths.resolv.empty()) paths.resolv = container_dir + "/resolv.conf";

  net::hosts_spec hosts;
  hosts.hostname = oci::text(r.config, "Hostname");
  hosts.domainname = oci::text(r.config, "Domainname");
  hosts.extra_hosts = oci::texts(r.host_config, "ExtraHosts");
  hosts.links = oci::texts(r.links, "hosts");
  for (const auto& e : endpoints) {
    if (!e.ip4.empty()) hosts.addresses.push_back(e.ip4);
    if (hosts.host_gateway.empty()) hosts.host_gateway = e.gateway4;
  }
  if (host_network && hosts.extra_hosts.empty()) {
    const auto own = fs::read_file("/etc/hosts", 1u << 20);
    ARCA_CHECK(write_plain(paths.hosts, own ? *own : std::string()));
  } else {
    ARCA_TRY(text, net::hosts_file(hosts));
    ARCA_CHECK(write_plain(paths.hosts, text));
  }
  ARCA_CHECK(write_plain(paths.hostname, net::hostname_file(hosts.hostname)));

  net::resolv_spec resolv;
  resolv.dns = oci::texts(r.host_config, "Dns");
  for (const auto& server : resolv.dns)
    if (!is_address(server))
      return fail(errc::internal,
                  "bad nameserver address " + server + ": ParseAddr(" + go_quote(server) + "): unable to parse IP");
  resolv.search = oci::texts(r.host_config, "DnsSearch");
  resolv.options = oci::texts(r.host_config, "DnsOptions");
  resolv.host_network = host_network;
  if (auto text = fs::read_file("/etc/resolv.conf", 1u << 20)) {
    resolv.host_path = net::host_resolv_path(*text);
    if (resolv.host_path != "/etc/resolv.conf")
      if (auto real = fs::read_file(resolv.host_path, 1u << 20)) text = std::move(real);
    resolv.host_file = std::move(*text);
  }
  ARCA_CHECK(write_plain(paths.resolv, net::resolv_file(resolv)));
  return paths;
}

}  // namespace arca::launch
