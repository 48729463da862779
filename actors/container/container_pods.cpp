// Other containers: whose namespaces this one joins and who has joined its own (docs/machines.md, "Pods"), and links.
#include <algorithm>

#include "actors/container/container.hpp"
#include "actors/model/links.hpp"
#include "actors/model/pod.hpp"
#include "actors/model/validate_vm.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

constexpr int longest_chain = 16;  ///< of containers that join each other's network

model::record_lookup lookup_in(const directory& all) {
  return [&all](const std::string& name) -> result<std::shared_ptr<const model::container_record>> {
    ARCA_TRY(found, all.find(name));
    return found.record;
  };
}

bool names_machine(const model::container_record& r) {
  const auto runtime = r.host_config.value("Runtime", std::string());
  return runtime == "vm" || runtime == "namespace";
}

/// Whose network namespace a container is in; empty when that cannot be said any more.
std::string network_owner(const directory& all, const model::container_record& of) {
  auto id = of.id;
  const auto* mode = &of.host_config;
  std::shared_ptr<const model::container_record> held;
  for (int i = 0; i < longest_chain; ++i) {
    const auto wishes = model::shared_namespaces(*mode);
    if (wishes.empty() || wishes.front().kind != "network") return id;
    const auto donor = all.find(wishes.front().container);
    if (!donor) return {};
    held = donor->record;
    id = held->id;
    mode = &held->host_config;
  }
  return {};
}

}  // namespace

/// The kind of machine that the container gets, now that its donors are known; errc::invalid_argument when they, or its
/// other options, are in the way.
result<void> container::choose_machine_beside(const directory& all) {
  const auto wishes = model::shared_namespaces(record_.host_config);
  ARCA_TRY(kind, model::machine_kind_beside(wishes, record_.runtime, names_machine(record_), lookup_in(all)));
  const bool has_donor =
      std::any_of(wishes.begin(), wishes.end(), [&](const auto& wish) { return all.find(wish.container).has_value(); });
  if (has_donor && kind == "vm") ARCA_CHECK(fits_in_vm());
  record_.runtime = kind;
  return {};
}

result<std::vector<joined_namespace>> container::find_donors() {
  const auto all = s_.directory.get();
  std::vector<joined_namespace> out;
  for (const auto& wish : model::shared_namespaces(record_.host_config)) {
    ARCA_TRY(donor, model::find_donor(wish, record_.id, lookup_in(*all)));
    joined_namespace joined;
    joined.kind = wish.kind;
    joined.container_id = donor->id;
    joined.machine = donor->machine;
    joined.pid = donor->state.pid;
    out.push_back(std::move(joined));
    if (wish.kind != "network") continue;
    // Docker takes over what belongs to the network: its files, and the name in them.
    record_.hosts_path = donor->hosts_path;
    record_.hostname_path = donor->hostname_path;
    record_.resolv_path = donor->resolv_path;
    for (const char* key : {"Hostname", "Domainname"}) record_.config[key] = donor->config.value(key, std::string());
    record_.endpoints.clear();
    record_.ports = nullptr;
  }
  if (!out.empty()) ARCA_CHECK(choose_machine_beside(*all));
  return out;
}

/// What other containers on the default bridge are called, and what is known of them, at this start.
result<void> container::find_links() {
  record_.links = nullptr;
  if (record_.endpoints.empty() || record_.endpoints.front().network_name != "bridge") return {};
  const auto all = s_.directory.get();
  ARCA_TRY(links, model::resolve_links(record_, lookup_in(*all)));
  if (!links.hosts.empty()) record_.links = {{"hosts", links.hosts}, {"env", links.environment}};
  return {};
}

bool container::has_network_guests() const {
  const auto all = s_.directory.get();
  for (const auto& [id, entry] : all->by_id()) {
    const auto& r = *entry.record;
    if (id == record_.id || !starts_with(r.host_config.value("NetworkMode", std::string()), "container:")) continue;
    if (!model::shows_running(r) && r.state.status != model::container_status::starting) continue;
    const auto owner = network_owner(*all, r);
    if (owner == record_.id || owner.empty()) return true;
  }
  return false;
}

}  // namespace arca
