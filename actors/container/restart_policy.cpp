#include "actors/container/restart_policy.hpp"

#include <algorithm>
#include <csignal>

#include "actors/model/signals.hpp"

namespace arca {
namespace {
nlohmann::json policy_of(const model::container_record& r) {
  return r.host_config.value("RestartPolicy", nlohmann::json::object());
}

bool policy_wants(const model::container_record& r) {
  const auto policy = policy_of(r);
  const auto name = policy.value("Name", "");
  const auto limit = policy.value("MaximumRetryCount", int64_t{0});
  if (name == "always" || name == "unless-stopped") return !r.stopped_by_user;
  if (name == "on-failure")
    return !r.stopped_by_user && r.state.exit_code != 0 && (limit <= 0 || r.restart_count < limit);
  return false;
}
}  // namespace

std::optional<restart_decision> next_restart(const model::container_record& r) {
  if (!policy_wants(r)) return std::nullopt;
  const bool stable = r.state.finished_at - r.state.started_at >= restart_stable_run_ns;
  const int64_t delay = stable || r.restart_delay_ms == 0 ? restart_delay_first_ms
                                                          : std::min(r.restart_delay_ms * 2, restart_delay_limit_ms);
  return restart_decision{delay};
}

bool starts_with_daemon(const model::container_record& r) {
  return r.state.started_at != 0 && (policy_of(r).value("Name", "") == "always" || policy_wants(r));
}

bool is_meant_to_end(const model::container_record& r, int signal) {
  const auto own = r.config.value("StopSignal", nlohmann::json());
  if (signal == SIGKILL || !own.is_string() || own.get<std::string>().empty()) return true;
  const auto parsed = model::parse_signal(own.get<std::string>());
  return parsed && *parsed == signal;
}

bool counts_as_stop(const model::container_record& r, int signal) {
  return is_meant_to_end(r, signal) || policy_of(r).value("Name", "") == "unless-stopped";
}

}  // namespace arca
