// How the agent is started as PID 1 of a virtual machine, and how a connection over its port begins.
//
// The kernel runs /init of the initramfs, which is arca-guest: as process 1 it takes no arguments. It finds
//   /init                    itself
//   /lib/modules/order       module files in load order, one path a line; those before the first empty line are loaded
//                            at once, the others when a call needs them (name without ".ko" = module)
// and makes the rest: /proc, /sys, /dev (devtmpfs), /dev/pts, /dev/shm, /run and /tmp (tmpfs), /sys/fs/cgroup (v2, with
// the controllers cpu, memory, pids and io delegated), /sys/fs/bpf if there is one; lo up. Its root is moved to a real
// mount, so that pivot_root works. Machine folder: /run/machine (exit journal, spools; in memory).
//
// The port is the virtio-serial port named `port_name`. The daemon sends one line
//   ARCA1 <secret, 32 hex digits> <nonce, 32 hex digits>\n
// and throws away everything until the same line comes back; after the echo HTTP/2 begins. The first line sets the
// machine's secret, later ones must carry it: no byte of a container can forge a reset. Each later line ends the
// connection before it and begins a new one. (HUP alone misses half of the reconnects.)
#pragma once
#include <cstddef>

namespace arca::vm_start {

inline constexpr const char* port_name = "agent";
inline constexpr const char* line_magic = "ARCA1 ";
inline constexpr size_t secret_digits = 32, nonce_digits = 32;
inline constexpr size_t line_length = 6 + secret_digits + 1 + nonce_digits + 1;
static_assert(line_length == 72);

inline constexpr const char* machine_dir = "/run/machine";
/// Tags of the virtiofs shares; mounted by the daemon's Mount calls.
inline constexpr const char* rootfs_tag = "root";    ///< its root is the container's merged overlay
inline constexpr const char* shares_tag = "shares";  ///< bind mounts, volumes and files, one entry each: 1, 2, …

}  // namespace arca::vm_start
