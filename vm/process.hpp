// Processes of this host that outlive the daemon: recognised by pid and start time, watched and ended by pidfd.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

/// Field 22 of /proc/PID/stat, 0 when there is no such process.
uint64_t start_time_of(pid_t pid);
/// 0 when there is no such process.
pid_t parent_of(pid_t pid);
std::string host_boot_id();
/// True when the descriptor's process has ended. Collects it if it was our child.
bool has_ended(int pidfd);
/// Waits at most `ms` for the end.
bool wait_for_end(int pidfd, int ms);
void send_signal(int pidfd, int number);
/// A pidfd of the process that had this pid and start time; errc::gone with the reason when it has ended.
result<unique_fd> open_process(int64_t pid, uint64_t start_time);

}  // namespace arca::vm
