// Containers that share namespaces with another one: `container:X` in NetworkMode, IpcMode and PidMode.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"

namespace arca::model {

/// A wish of HostConfig.
struct shared_namespace {
  std::string kind;       ///< "network", "ipc", "pid": as the OCI runtime spec names them
  std::string container;  ///< name, id or prefix
};
/// In the order in which Docker's start looks at them.
std::vector<shared_namespace> shared_namespaces(const nlohmann::json& host_config);

/// Finds a container by name, id or unique prefix; errc::not_found "No such container: x".
using record_lookup = std::function<result<std::shared_ptr<const container_record>>(const std::string&)>;

/// The container whose namespace is joined, or why it cannot be, in Docker's words (its start, 28.5). `self`: the id of
/// the container that joins.
result<std::shared_ptr<const container_record>> find_donor(const shared_namespace& wish, const std::string& self,
                                                           const record_lookup& lookup);

/// The kind of machine for a container that shares namespaces: its donors'. `own` is what it would have without them,
/// `named` whether the user chose that. errc::invalid_argument when they do not fit together. Donors that are not there
/// yet are passed over.
result<std::string> machine_kind_beside(const std::vector<shared_namespace>& wishes, const std::string& own, bool named,
                                        const record_lookup& lookup);

}  // namespace arca::model
