#include "actors/model/links.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>

#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

struct port {
  int number = 0;
  std::string protocol;
};

// By number, tcp before everything else.
std::vector<port> exposed_ports(const container_record& r) {
  std::vector<port> out;
  for (const auto& [key, unused] : object_of(r.config, "ExposedPorts").items()) {
    const auto slash = key.find('/');
    port one;
    one.protocol = slash == std::string::npos ? "tcp" : key.substr(slash + 1);
    std::from_chars(key.data(), key.data() + std::min(slash, key.size()), one.number);
    out.push_back(std::move(one));
  }
  std::sort(out.begin(), out.end(), [](const port& a, const port& b) {
    const auto rank = [](const port& p) { return std::tuple(p.protocol != "tcp", p.protocol, p.number); };
    return rank(a) < rank(b);
  });
  return out;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
  return text;
}

// Ports in a row have a first and a last one as well.
void add_ports(std::vector<std::string>& env, const std::string& alias, const std::string& ip,
               const std::vector<port>& ports) {
  const auto url = [&](const port& p) { return p.protocol + "://" + ip + ':' + std::to_string(p.number); };
  const auto prefix = [&](const port& p) {
    return alias + "_PORT_" + std::to_string(p.number) + '_' + upper(p.protocol);
  };
  if (!ports.empty()) env.push_back(alias + "_PORT=" + url(ports.front()));
  for (size_t i = 0, first = 0; i < ports.size(); ++i) {
    const auto& p = ports[i];
    env.push_back(prefix(p) + '=' + url(p));
    env.push_back(prefix(p) + "_ADDR=" + ip);
    env.push_back(prefix(p) + "_PORT=" + std::to_string(p.number));
    env.push_back(prefix(p) + "_PROTO=" + p.protocol);
    const bool goes_on =
        i + 1 < ports.size() && ports[i + 1].number == p.number + 1 && ports[i + 1].protocol == p.protocol;
    if (goes_on) continue;
    if (first != i) {
      env.push_back(prefix(ports[first]) + "_START=" + url(ports[first]));
      env.push_back(prefix(ports[first]) + "_PORT_START=" + std::to_string(ports[first].number));
      env.push_back(prefix(ports[first]) + "_END=" + url(p));
      env.push_back(prefix(ports[first]) + "_PORT_END=" + std::to_string(p.number));
    }
    first = i + 1;
  }
}

void add_environment(std::vector<std::string>& env, const std::string& alias, const container_record& child) {
  for (const auto& entry : list_of(child.config, "Env")) {
    const auto variable = entry.get<std::string>();
    const auto name = variable.substr(0, variable.find('='));
    if (name.size() == variable.size() || name == "HOME" || name == "PATH") continue;
    env.push_back(alias + "_ENV_" + variable);
  }
}

// The address of the one whose network it is in, too.
result<std::string> address_of(const container_record& child, const linked_lookup& lookup) {
  std::string owner;
  if (names_container(text_of(child.host_config, "NetworkMode"), owner)) {
    ARCA_TRY(donor, lookup(owner));
    return address_of(*donor, lookup);
  }
  for (const auto& e : child.endpoints)
    if (e.network_name == "bridge") return e.ip4;
  return fail(errc::internal, "container " + child.id + " not attached to default bridge network");
}

}  // namespace

result<link_name> parse_link(const std::string& text) {
  if (text.empty()) return fail(errc::internal, "empty string specified for links");
  const auto parts = split(text, ':');
  if (parts.size() > 2) return fail(errc::internal, "bad format for links: " + text);
  link_name out{parts[0], parts.size() == 2 ? parts[1] : parts[0]};
  if (starts_with(out.container, "/")) {
    out.container.erase(0, 1);
    out.alias.erase(0, out.alias.rfind('/') + 1);
  }
  return out;
}

result<resolved_links> resolve_links(const container_record& r, const linked_lookup& lookup) {
  resolved_links out;
  std::set<std::string> aliases;
  for (const auto& entry : list_of(r.host_config, "Links")) {
    ARCA_TRY(link, parse_link(entry.get<std::string>()));
    if (!aliases.insert(link.alias).second) continue;  // Docker: the first one has it
    ARCA_TRY(child, lookup(link.container));
    const auto shown = '/' + r.name + '/' + link.alias;
    if (!shows_running(*child))
      return fail(errc::internal, "Cannot link to a non running container: /" + child->name + " AS " + shown);
    ARCA_TRY(ip, address_of(*child, lookup));
    std::string names = link.alias + ' ' + text_of(child->config, "Hostname");
    if (link.alias != child->name) names += ' ' + child->name;
    out.hosts.push_back(ip + '\t' + names);
    auto alias = upper(link.alias);
    std::replace(alias.begin(), alias.end(), '-', '_');
    add_ports(out.environment, alias, ip, exposed_ports(*child));
    out.environment.push_back(alias + "_NAME=" + shown);
    add_environment(out.environment, alias, *child);
  }
  return out;
}

}  // namespace arca::model
