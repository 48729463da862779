// A machine is where containers run: normally one, several in a pod. It is made for one start and never reused, so
// that there is nothing to clean between starts. It outlives the daemon; a later daemon adopts it.
//
// Life:  make (or take from the pool) → boot → agent answers Hello → configure, NICs, rootfs → containers run
//        → all exited and acknowledged → destroyed: process reaped, cgroup and run folder gone.
//
// A `machine` object is one container's part in it, used by one machine actor at a time. Where several containers share
// a machine (docs/machines.md, "Pods") each has an object of its own: calls about "the container" touch no other, and
// the machine itself ends when the last object is destroyed.
//
// All calls here may block (milliseconds; boot of a VM: seconds) and are made from the blocking pool, never from an
// actor's thread. Nothing here names a hypervisor's concept: the namespace backend, QEMU and later ones stand behind
// the same calls.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/start_account.hpp"

namespace arca::vm {

class agent_client;
struct agent_hello;

/// What is written to the container's row as soon as it exists, and what a later daemon needs to adopt the machine. A
/// pid is believed only together with its start time and the boot id of the host.
struct machine_identity {
  std::string kind;         ///< "namespace" or "vm"
  std::string id;           ///< id of the container
  std::string dir;          ///< run folder: sockets, bundle, journal
  std::string cgroup;       ///< below each hierarchy, "/arca/<id>"
  int64_t pid = 0;          ///< agent or hypervisor, in the host's pid namespace
  uint64_t start_time = 0;  ///< field 22 of /proc/PID/stat
  std::string boot_id;      ///< /proc/sys/kernel/random/boot_id
};

/// JSON of an identity, as the container's row keeps it.
std::string to_json(const machine_identity& identity);
result<machine_identity> identity_from_json(const std::string& text);

struct nic_spec {
  std::string name;                    ///< inside: "eth0"
  std::string host_name;               ///< device on the host side: "veth1a2b3c4"
  std::string bridge;                  ///< device that it joins
  std::string mac;                     ///< "02:42:ac:11:00:02"
  std::vector<std::string> addresses;  ///< with prefix length
  std::string gateway4, gateway6;
  uint32_t mtu = 1500;
};

/// A host folder as the root of a container: an overlay of read-only layers and a writable one.
struct rootfs_spec {
  std::vector<std::string> lower;  ///< layer folders, topmost first; empty for a container without an image
  std::string upper, work;
  bool read_only = false;
};

/// Names and milliseconds of the steps of a start, in their order.
using stage_times = std::vector<std::pair<std::string, double>>;

/// What people are shown of a machine with a kernel of its own.
struct machine_description {
  std::string accelerator;  ///< "kvm", "tcg"; empty: the machine is on the host's kernel, and all else is empty too
  std::string guest;        ///< version of the guest it was booted from; empty: files that the settings name
  uint64_t memory_mib = 0;
  unsigned cpus = 0;
  stage_times stages, engine_stages;  ///< of the machine's start, and of what the engine did for the container
  std::vector<start_step> timeline;   ///< the whole start of its first container
};

/// Another container, whose namespaces are to be shared.
struct namespace_donor {
  std::string container;
  machine_identity machine;
  int64_t pid = 0;  ///< of its init on this host
};

class machine {
 public:
  virtual ~machine() = default;
  virtual const machine_identity& identity() const = 0;

  /// Makes the process, waits until the agent has answered Hello. errc::timeout when it does not by `deadline_ms`.
  virtual result<void> boot(int deadline_ms) = 0;
  /// Takes over a running machine of an earlier daemon, or of an earlier actor, and says what runs in it. errc::gone
  /// when it is not the one of identity() any more.
  virtual result<agent_hello> adopt(int deadline_ms) = 0;
  /// Other containers run in it already: it has its identity and is not configured again.
  virtual bool is_joined() const { return false; }
  /// Of the container, for its OCI spec.
  virtual std::string container_cgroup() const { return identity().cgroup; }

  /// Calls to the agent; valid after boot or adopt, lives as long as the machine.
  virtual agent_client& agent() = 0;
  /// A new connection for the bytes of a process, hello already sent (guest/proto/stdio_frame.hpp).
  virtual result<unique_fd> connect_stdio(const std::string& container, const std::string& process,
                                          uint64_t first_sequence) = 0;
  /// Where the connection for the bytes of an exec comes with its start (agent_client::exec): the hello for that.
  virtual result<std::optional<stdio::hello>> exec_hello(const std::string& container,
                                                         const std::string& process) const {
    (void)container, (void)process;
    return std::nullopt;
  }

  /// Makes the overlay (nothing appears in the host's mount table) and hands it to the agent. The returned descriptor
  /// names the mounted root for lookups (users, working directory); the token goes into CreateContainerRequest.rootfs.
  struct attached_rootfs {
    unique_fd root;
    std::string token;  ///< fd_token, or a path in the guest when `is_path`
    bool is_path = false;
  };
  virtual result<attached_rootfs> attach_rootfs(const rootfs_spec& rootfs) = 0;
  /// Makes an opened file or folder of the host (O_PATH) usable as a mount source inside. Returns the fd_token.
  virtual result<std::string> share(unique_fd source, bool read_only, bool recursive) = 0;
  /// The same for a socket of the host (O_PATH) where the kernel is not the host's: each connection is relayed.
  virtual result<std::string> share_socket(unique_fd) {
    return fail(errc::unsupported, "a socket is shared as it is in a machine on the host's kernel");
  }
  /// After attach_rootfs and the last share(), before the container is created: waits until all of it is there inside.
  virtual result<void> finish_shares() = 0;
  /// A namespace of another container for the OCI spec ("network", "ipc", "pid"), or its /dev/shm ("shm").
  struct joined_source {
    std::string path;   ///< what the launcher opens
    std::string token;  ///< if not empty: an fd_token, as of share()
    unique_fd held;     ///< keeps `path` good: until the container has been created
  };
  virtual result<joined_source> join(const std::string& what, const namespace_donor& donor) = 0;
  /// Paths of the host mean the same inside and the kernel is the host's. Otherwise every source of a mount is shared,
  /// devices, kernel and limits are the machine's own.
  virtual bool on_host_kernel() const = 0;
  /// The root file system of the container for lookups, of a machine that was adopted. `init_pid`: as the agent told.
  virtual result<unique_fd> open_root(int64_t init_pid) = 0;

  virtual result<void> attach_nic(const nic_spec& nic) = 0;
  virtual result<void> detach_nic(const std::string& name) = 0;

  /// Freezes everything of the container / lets it go on. Does not need the agent where no other container is inside.
  virtual result<void> pause() = 0;
  virtual result<void> resume() = 0;
  /// Sends SIGKILL to every process of the container, without the agent's help where that is possible.
  virtual result<void> kill_container() = 0;
  /// Ends the machine itself at once, with everything in it.
  virtual void kill() = 0;
  /// Readable when the machine's own process (agent or hypervisor) has ended.
  virtual int exit_fd() const = 0;
  /// The container is over: what it has left is removed. With the last one the machine ends, and its cgroups and run
  /// folder are removed. Safe to repeat.
  virtual void destroy() = 0;
  /// Tail of the boot log (VM console, agent's stderr), at most `limit` bytes.
  virtual std::string boot_log(size_t limit) const = 0;

  /// Does not block; stays the same after start_is_over.
  virtual machine_description describe() const { return {}; }
  /// Its first container runs, and these were the engine's own stages. Does not block.
  virtual void start_is_over(const stage_times&) {}
  /// Keeps what describe() shows for a later daemon.
  virtual void keep_start() {}
};

}  // namespace arca::vm
