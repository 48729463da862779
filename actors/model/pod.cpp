#include "actors/model/pod.hpp"

#include <algorithm>

#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr int longest_chain = 16;  ///< of containers that join each other's IPC namespace

/// Whether there is a /dev/shm that others may have: of its own, the host's, or that of the container it joined itself.
bool has_shareable_ipc(const container_record& r, const record_lookup& lookup, int depth = 0) {
  const auto& mode = text_of(r.host_config, "IpcMode");
  std::string other;
  if (names_container(mode, other)) {
    const auto donor = lookup(other);
    return donor && depth < longest_chain && has_shareable_ipc(**donor, lookup, depth + 1);
  }
  if (mode == "host") return true;
  // Docker shares the one that it has mounted itself.
  return mode == "shareable" &&
         std::none_of(r.mounts.begin(), r.mounts.end(),
                      [](const mount_point& m) { return m.destination == "/dev/shm"; }) &&
         !object_of(r.host_config, "Tmpfs").contains("/dev/shm");
}

error restarting(const std::string& name) {
  return {errc::conflict, "Container " + name + " is restarting, wait until the container is running"};
}

error network_problem(const container_record& donor, const std::string& name) {
  if (shown_status(donor) == "restarting") return restarting(name).wrap("cannot join network namespace of container");
  return {errc::conflict, "cannot join network namespace of a non running container: container " + donor.name + " is " +
                              std::string(shown_status(donor))};
}

bool can_be_joined(const container_record& r) {
  return shows_running(r) && shown_status(r) != "restarting";
}

}  // namespace

std::vector<shared_namespace> shared_namespaces(const nlohmann::json& host_config) {
  std::vector<shared_namespace> out;
  for (const auto& [field, kind] : {std::pair{"NetworkMode", "network"}, {"IpcMode", "ipc"}, {"PidMode", "pid"}})
    if (std::string container; names_container(text_of(host_config, field), container))
      out.push_back({kind, std::move(container)});
  return out;
}

result<std::shared_ptr<const container_record>> find_donor(const shared_namespace& wish, const std::string& self,
                                                           const record_lookup& lookup) {
  auto donor = lookup(wish.container);
  if (wish.kind == "network") {
    if (!donor) return fail(errc::internal, "joining network namespace of container: " + donor.error().message());
    if ((*donor)->id == self) return fail(errc::internal, "cannot join own network namespace");
    if (!can_be_joined(**donor)) return fail(network_problem(**donor, wish.container));
    return donor;
  }
  // These are found while Docker makes the spec, whose errors are all internal.
  const auto cannot = [&](const std::string& why) {
    return fail(errc::internal,
                std::string("failed to join ") + (wish.kind == "ipc" ? "IPC" : "PID") + " namespace: " + why);
  };
  if (!donor) return cannot(donor.error().message());
  if (shown_status(**donor) == "restarting") return cannot(restarting(wish.container).message());
  if (!can_be_joined(**donor)) return cannot("container " + wish.container + " is not running");
  if (wish.kind == "ipc" && !has_shareable_ipc(**donor, lookup))
    return cannot("container " + wish.container +
                  ": non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
  return donor;
}

result<std::string> machine_kind_beside(const std::vector<shared_namespace>& wishes, const std::string& own, bool named,
                                        const record_lookup& lookup) {
  std::string kind, donor_name;
  for (const auto& wish : wishes) {
    const auto donor = lookup(wish.container);
    if (!donor) continue;
    const auto& r = **donor;
    if (!kind.empty() && r.runtime != kind)
      return refuse("containers " + donor_name + " (runtime " + kind + ") and " + r.name + " (runtime " + r.runtime +
                    ") have no machine in common that a container could be put into");
    kind = r.runtime;
    donor_name = r.name;
  }
  if (kind.empty()) return own;
  if (named && own != kind)
    return refuse("--runtime " + own + " does not fit: the container is put into the machine of container " +
                  donor_name + ", whose runtime is " + kind);
  return kind;
}

}  // namespace arca::model
