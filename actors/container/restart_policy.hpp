// When a container that has ended is started again: Docker's restart manager (API: HostConfig.RestartPolicy). Delay 100
// ms, doubled with every restart up to 1 min, back to 100 ms after a run of 10 s.
#pragma once
#include <cstdint>
#include <optional>

#include "actors/model/container_record.hpp"

namespace arca {

struct restart_decision {
  int64_t delay_ms = 0;
};

inline constexpr int64_t restart_delay_first_ms = 100;
inline constexpr int64_t restart_delay_limit_ms = 60'000;
inline constexpr int64_t restart_stable_run_ns = 10'000'000'000;

/// For a container whose init has just ended (state has the exit). nullopt: stay exited.
std::optional<restart_decision> next_restart(const model::container_record& r);

/// For a container found ended when the daemon starts. `always` is that: also after a stop, unlike `unless-stopped`.
bool starts_with_daemon(const model::container_record& r);

/// Whether a signal of docker kill is there to end the container. If it has a StopSignal that one is, else any.
bool is_meant_to_end(const model::container_record& r, int signal);
/// … and whether its policy takes it for a stop: `unless-stopped` takes every signal for one.
bool counts_as_stop(const model::container_record& r, int signal);

}  // namespace arca
