#include "vm/network/firewall.hpp"

#include <dlfcn.h>
#include <nftables/libnftables.h>

#include <memory>
#include <mutex>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::net {
namespace {
// libnftables with what it needs takes more than a megabyte and is wanted once or twice in the life of a daemon.
struct nft_library {
  std::unique_ptr<void, int (*)(void*)> handle{dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL), dlclose};
  decltype(&nft_ctx_new) make = nullptr;
  decltype(&nft_ctx_free) free = nullptr;
  decltype(&nft_ctx_buffer_output) buffer_output = nullptr;
  decltype(&nft_ctx_buffer_error) buffer_error = nullptr;
  decltype(&nft_ctx_get_output_buffer) output = nullptr;
  decltype(&nft_ctx_get_error_buffer) error_text = nullptr;
  decltype(&nft_ctx_output_set_flags) set_flags = nullptr;
  decltype(&nft_run_cmd_from_buffer) run = nullptr;

  template <class F>
  bool bind(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(handle.get(), name));
    return function != nullptr;
  }
  bool load() {
    return handle != nullptr && bind(make, "nft_ctx_new") && bind(free, "nft_ctx_free") &&
           bind(buffer_output, "nft_ctx_buffer_output") && bind(buffer_error, "nft_ctx_buffer_error") &&
           bind(output, "nft_ctx_get_output_buffer") && bind(error_text, "nft_ctx_get_error_buffer") &&
           bind(set_flags, "nft_ctx_output_set_flags") && bind(run, "nft_run_cmd_from_buffer");
  }
};

class nft_session {
 public:
  explicit nft_session(const nft_library& library)
      : library_(library), context_(library.make(NFT_CTX_DEFAULT), library.free) {
    library_.buffer_output(context_.get());
    library_.buffer_error(context_.get());
    library_.set_flags(context_.get(), NFT_CTX_OUTPUT_HANDLE);
  }
  /// The command's output.
  result<std::string> run(const std::string& commands) {
    if (library_.run(context_.get(), commands.c_str()) == 0) return std::string(library_.output(context_.get()));
    return fail(errc::internal, "nftables: " + std::string(library_.error_text(context_.get())));
  }

 private:
  const nft_library& library_;
  std::unique_ptr<nft_ctx, decltype(&nft_ctx_free)> context_;
};

constexpr std::string_view foreign_mark = "comment \"arca\"";

// Commands that bring our rules in somebody else's FORWARD chain up to date: old ones out, new ones to the end.
std::string foreign_commands(std::string_view listing, const std::vector<bridge_rules>& bridges) {
  std::string commands;
  for (const auto& line : split(listing, '\n')) {
    const auto handle = line.rfind("# handle ");
    if (line.find(foreign_mark) != std::string::npos && handle != std::string::npos)
      commands += "delete rule ip filter FORWARD handle " + line.substr(handle + 9) + '\n';
  }
  if (listing.find("policy drop") == std::string_view::npos) return commands;
  // Plain interface matches, which iptables can show too; our own table sorts out what may come in.
  for (const auto& b : bridges)
    for (const char* side : {"iifname", "oifname"})
      commands += std::string("add rule ip filter FORWARD ") + side + " \"" + b.bridge + "\" counter accept " +
                  std::string(foreign_mark) + '\n';
  return commands;
}

bool is_plain(const std::string& name) {
  for (const char c : name)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') return false;
  return !name.empty() && name.size() < 16;
}
}  // namespace

// Maps and chains of the published ports. Two maps, so that the rules stay the same however many ports there are.
static std::string publishing(const std::vector<port_rule>& ports) {
  std::string at_address, anywhere;
  for (const auto& p : ports) {
    auto& into = p.host == 0 ? anywhere : at_address;
    into += (into.empty() ? "" : ", ") + p.protocol + (p.host == 0 ? "" : " . " + to_string(p.host)) + " . " +
            std::to_string(p.host_port) + " : " + to_string(p.container) + " . " + std::to_string(p.container_port);
  }
  const auto map = [](const char* name, const char* key, const std::string& elements) {
    return std::string("  map ") + name + " {\n    type inet_proto . " + key + " : ipv4_addr . inet_service\n" +
           (elements.empty() ? "" : "    elements = { " + elements + " }\n") + "  }\n";
  };
  return map("published_at", "ipv4_addr . inet_service", at_address) + map("published", "inet_service", anywhere) +
         "  chain publish {\n"
         "    dnat ip to meta l4proto . ip daddr . th dport map @published_at\n"
         "    dnat ip to meta l4proto . th dport map @published\n  }\n"
         "  chain prerouting {\n    type nat hook prerouting priority dstnat + 10; policy accept;\n"
         "    fib daddr type local meta l4proto { tcp, udp, sctp } jump publish\n  }\n"
         "  chain output {\n    type nat hook output priority -90; policy accept;\n"
         "    fib daddr type local meta l4proto { tcp, udp, sctp } jump publish\n  }\n"
         "  chain loopback {\n    type filter hook prerouting priority raw; policy accept;\n"
         "    iifname @bridges ip saddr 127.0.0.0/8 drop\n    iifname @bridges ip daddr 127.0.0.0/8 drop\n  }\n";
}

std::string firewall_ruleset(const std::vector<bridge_rules>& bridges, const std::vector<port_rule>& ports) {
  // "table inet arca" first, so that the delete finds one; all of it is one transaction.
  std::string text = "table inet arca\ndelete table inet arca\n";
  if (bridges.empty()) return text;
  std::string names, forward, nat, internal, open;
  for (const auto& b : bridges) {
    const std::string quoted = '"' + b.bridge + '"';
    names += (names.empty() ? "" : ", ") + quoted;
    forward += "    iifname " + quoted + " oifname " + quoted + (b.icc ? " accept\n" : " drop\n");
    if (b.internal) internal += "    iifname " + quoted + " drop\n    oifname " + quoted + " drop\n";
    if (b.open && !b.internal) open += "    iifname != @bridges oifname " + quoted + " accept\n";
    if (b.masquerade && !b.internal)
      nat += "    oifname != " + quoted + " ip saddr " + to_string(b.subnet.network()) + " masquerade\n";
    // A published port reached from its own network or from the host's loopback: the answer has to come back this way.
    if (!ports.empty())
      nat += "    oifname " + quoted + " ct status dnat ip saddr { 127.0.0.0/8, " + to_string(b.subnet.network()) +
             " } masquerade\n";
  }
  text += "table inet arca {\n  set bridges {\n    type ifname\n    elements = { " + names + " }\n  }\n";
  text +=
      "  chain forward {\n    type filter hook forward priority filter + 10; policy accept;\n"
      "    iifname != @bridges oifname != @bridges accept\n"
      "    ct state established,related accept\n";
  text += forward;
  text += internal;
  text += "    oifname @bridges ct status dnat accept\n    iifname @bridges oifname @bridges drop\n";
  text += open;
  text += "    oifname @bridges drop\n  }\n";
  text += "  chain postrouting {\n    type nat hook postrouting priority srcnat + 10; policy accept;\n";
  text += nat;
  text += "  }\n";
  if (!ports.empty()) text += publishing(ports);
  text += "}\n";
  return text;
}

result<void> apply_firewall(const std::vector<bridge_rules>& bridges, const std::vector<port_rule>& ports) {
  for (const auto& b : bridges)
    if (!is_plain(b.bridge)) return fail(errc::invalid_argument, "invalid bridge name " + go_quote(b.bridge));
  for (const auto& p : ports)
    if (p.protocol != "tcp" && p.protocol != "udp" && p.protocol != "sctp")
      return fail(errc::invalid_argument, "invalid protocol " + go_quote(p.protocol));
  static std::mutex one_at_a_time;  // libnftables has global tables
  const std::lock_guard guard(one_at_a_time);
  nft_library library;
  if (!library.load()) return fail(errc::unavailable, "libnftables.so.1 cannot be loaded: NAT is not possible");
  nft_session session(library);
  std::string commands = firewall_ruleset(bridges, ports);
  if (const auto listing = session.run("list chain ip filter FORWARD"))  // fails where there is no such chain
    commands += foreign_commands(*listing, bridges);
  ARCA_CHECK(session.run(commands));
  return {};
}

std::vector<std::string> firewall_notes() {
  std::vector<std::string> notes;
  const auto legacy = fs::read_file("/proc/net/ip_tables_names", 4096);
  if (legacy && legacy->find("filter") != std::string::npos)
    notes.emplace_back(
        "the legacy iptables filter table is in use: if its FORWARD policy is DROP, accept the bridge there "
        "(iptables-legacy -A FORWARD -i BRIDGE -j ACCEPT; iptables-legacy -A FORWARD -o BRIDGE -j ACCEPT)");
  return notes;
}

}  // namespace arca::net
