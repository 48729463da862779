// The blocking steps of a start and of an exec. No actor here: each runs on the pool with what it needs as values.
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/protocol/machine.hpp"
#include "actors/protocol/network.hpp"
#include "actors/streams/process_io.hpp"
#include "vm/agent_client.hpp"
#include "vm/machine.hpp"
#include "vm/oci/runtime_words.hpp"

namespace arca::launch {

/// Names and durations of the steps, for the log.
class stages {
 public:
  void done(const char* name);
  /// "boot=1.2ms spec=0.8ms …"
  std::string text() const;
  const vm::stage_times& times() const { return steps_; }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  vm::stage_times steps_;
};

struct order {
  std::shared_ptr<const model::container_record> record;
  std::vector<std::string> layers;
  std::string container_dir;
  std::vector<endpoint> endpoints;
  std::vector<joined_namespace> joined;
};

/// Whether the machine stands in the host's network namespace.
bool host_network(const order& o);
/// The folder of the virtual machine that the container is put into; empty: it gets a machine of its own, as every
/// container on the host's kernel does.
result<std::string> machine_beside(const order& o, const std::string& runtime);
/// The network device to make; no name: none.
vm::nic_spec nic_of(const order& o);

/// Everything that create needs, with the machine booted.
struct prepared {
  vm::agent_container request;
  unique_fd stdio;                  ///< connected; empty when nobody wants the bytes
  std::shared_ptr<unique_fd> root;  ///< the mounted root file system
  oci::failed_launch words;         ///< for the launcher's error
  std::vector<unique_fd> held;      ///< what the spec names, until the container has been created
  std::vector<std::string> warnings;
  stages times;
};
/// Configures the agent, writes hosts, hostname and resolv.conf, makes the overlay, looks the user up, shares the bind
/// mounts and builds the spec. `io`: may be null.
result<prepared> prepare(vm::machine& box, const order& o, const std::shared_ptr<process_io>& io);

struct prepared_exec {
  vm::agent_exec request;
  unique_fd stdio;                    ///< for its bytes, or …
  std::optional<stdio::hello> hello;  ///< … that of a connection which comes with the start; neither: /dev/null
  oci::failed_launch words;
  unique_fd opened_root;  ///< holds words.root_fd when `root` was null
};
/// `config`: normalised exec JSON. `root`: of the container, null after an adoption (then the machine leads there, by
/// `pid`, that of its init).
result<prepared_exec> prepare_exec(vm::machine& box, const model::container_record& record,
                                   const std::shared_ptr<unique_fd>& root, int64_t pid, const std::string& process_id,
                                   const std::string& config, const std::shared_ptr<process_io>& io);

/// DIR/exits of an agent that is no more: process id → exit, of one container.
std::map<std::string, vm::agent_exit> read_exit_journal(const std::string& machine_dir,
                                                        const std::string& container_id);

}  // namespace arca::launch
