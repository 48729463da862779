// Checks of Config, and of what it must not be combined with (Docker's runconfig and validateContainerConfig).
#include "actors/model/mounts.hpp"
#include "actors/model/signals.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

result<void> check_network_mode(const json& config, const json& host) {
  const auto& mode = text_of(host, "NetworkMode");
  std::string other;
  const bool joins = names_container(mode, other);
  const auto conflict = [](const char* what) { return refuse("conflicting options: " + std::string(what)); };
  if (mode == "container" || (joins && split(mode, ':')[1].empty()))
    return refuse("invalid network mode: invalid container format container:<name|id>");
  const bool hostname = !text_of(config, "Hostname").empty();
  if (joins) {
    if (hostname) return conflict("hostname and the network mode");
    if (!list_of(host, "Links").empty())
      return conflict("container type network can't be used with links. This would result in undefined behavior");
    if (!list_of(host, "Dns").empty()) return conflict("dns and the network mode");
    if (!list_of(host, "ExtraHosts").empty()) return conflict("custom host-to-IP mapping and the network mode");
  }
  if ((joins || mode == "host") && !text_of(config, "MacAddress").empty())
    return conflict("mac-address and the network mode");
  if (joins && (!object_of(host, "PortBindings").empty() || flag_of(host, "PublishAllPorts")))
    return conflict("port publishing and the container type network mode");
  if (joins && !object_of(config, "ExposedPorts").empty())
    return conflict("port exposing and the container type network mode");
  if (text_of(host, "UTSMode") == "host" && hostname) return conflict("hostname and the UTS mode");
  if (mode == "host" && !list_of(host, "Links").empty())
    return conflict("host type networking can't be used with links. This would result in undefined behavior");
  return {};
}

result<void> check_health(const json& health) {
  for (const char* key : {"Interval", "Timeout"})
    if (const auto v = number_of(health, key); v != 0 && v < 1'000'000)
      return refuse(std::string(key) + " in Healthcheck cannot be less than 1ms");
  if (number_of(health, "Retries") < 0) return refuse("Retries in Healthcheck cannot be negative");
  for (const char* key : {"StartPeriod", "StartInterval"})
    if (const auto v = number_of(health, key); v != 0 && v < 1'000'000)
      return refuse(std::string(key) + " in Healthcheck cannot be less than 1ms");
  return {};
}

}  // namespace

result<void> check_runconfig(const json& config, const json& host_config, const host_facts& host) {
  ARCA_CHECK(check_network_mode(config, host_config));
  if (const auto& isolation = text_of(host_config, "Isolation"); !isolation.empty() && lower(isolation) != "default")
    return refuse("invalid isolation (" + isolation + "): linux only supports 'default'");
  if (number_of(host_config, "IOMaximumBandwidth") != 0)
    return refuse("invalid QoS settings: linux does not support configuration of maximum bandwidth");
  if (number_of(host_config, "IOMaximumIOps") != 0)
    return refuse("invalid QoS settings: linux does not support configuration of maximum IOPs");
  const auto period = number_of(host_config, "CpuRealtimePeriod"),
             runtime = number_of(host_config, "CpuRealtimeRuntime");
  if ((period != 0 || runtime != 0) && !host.cpu_realtime)
    return refuse("kernel does not support CPU real-time scheduler");
  if (period != 0 && runtime != 0 && runtime > period)
    return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
  if (const auto shares = number_of(host_config, "CpuShares"); shares < 0 && host.cpu_shares)
    return refuse("invalid CPU shares (" + std::to_string(shares) + "): value must be a positive integer");
  return {};
}

result<void> check_config(json& config) {
  if (const auto& folder = text_of(config, "WorkingDir"); !folder.empty()) {
    if (folder.front() != '/')
      return refuse("the working directory '" + folder + "' is invalid, it needs to be an absolute path");
    config["WorkingDir"] = clean_path(folder);
  }
  if (const auto& signal = text_of(config, "StopSignal"); !signal.empty()) ARCA_CHECK(parse_signal(signal));
  for (const auto& entry : list_of(config, "Env")) {
    const auto& text = entry.get_ref<const std::string&>();
    if (text.empty() || text.front() == '=') return refuse("invalid environment variable: " + text);
  }
  return check_health(object_of(config, "Healthcheck"));
}

}  // namespace arca::model
