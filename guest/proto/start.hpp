// How the daemon starts an agent of a namespace machine, and what it finds in the machine's folder.
//
//   arca-guest --machine-dir DIR --pool-fd N [--host-network] [--launcher crun|native]
//
// DIR exists, belongs to root, mode 0700, its path has at most max_machine_dir bytes. N is one end of a connected unix
// stream socket. When both sockets of the agent listen it writes the one byte `ready` to N. Until Configure has been
// answered the agent ends as soon as the daemon's end of N is closed; after Configure it closes N and lives on its own.
// The daemon may rename DIR before Configure: the sockets follow, Configure.machine_dir says the new path.
// The agent unshares its own network (unless --host-network) and mount namespaces, so the daemon reaches its network
// namespace by /proc/PID/ns/net. It takes nothing else from its parent: standard streams and all other descriptors are
// closed, the environment is ignored, the signal mask is reset, it is leader of a session of its own.
// `--launcher native` is for tests: containers as in a VM (guest/native_launcher.hpp), without a VM.
// SIGTERM is an orderly Shutdown. Exit status: 0 after Shutdown or the end of the pool socket, 1 when it could not
// start (the reason is in agent.log).
#pragma once
#include <cstddef>

namespace arca::guest_start {

inline constexpr const char* flag_machine_dir = "--machine-dir";
inline constexpr const char* flag_pool_fd = "--pool-fd";
inline constexpr const char* flag_host_network = "--host-network";
inline constexpr const char* flag_launcher = "--launcher";
inline constexpr const char* launcher_crun = "crun";
inline constexpr const char* launcher_native = "native";
inline constexpr char ready = 'R';
inline constexpr size_t max_machine_dir = 80;

// Files in the machine's folder.
inline constexpr const char* agent_socket = "agent.sock";  ///< gRPC, guest/proto/agent.proto
inline constexpr const char* stdio_socket = "stdio.sock";  ///< guest/proto/stdio_frame.hpp
inline constexpr const char* log_file = "agent.log";       ///< at most 64 KiB, the older half is dropped
inline constexpr const char* exit_journal = "exits";       ///< JSON lines, one per exit that was not acknowledged

}  // namespace arca::guest_start
