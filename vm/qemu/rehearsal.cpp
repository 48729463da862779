#include "vm/qemu/rehearsal.hpp"

#include <nlohmann/json.hpp>

#include "guest/proto/vm_start.hpp"
#include "vm/oci/spec.hpp"

namespace arca::vm {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* name = "rehearsal";
constexpr auto call_limit = 10s;

result<agent_container> empty_container(const std::string& folder) {
  const json host_config = json::object();
  const json config = {{"WorkingDir", "/"}, {"Env", {"PATH=/"}}};
  oci::spec_inputs inputs{.id = name,
                          .config = config,
                          .host_config = host_config,
                          .args = {name},
                          .user = {},
                          .mounts = {},
                          .hosts_path = {},
                          .hostname_path = {},
                          .resolv_path = {},
                          .init_path = {},
                          .cgroups_path = std::string("/") + name,
                          .devices = {},
                          .joined = {},
                          .joined_shm = {},
                          .network_sysctls = {},
                          .host = oci::this_host()};
  ARCA_TRY(spec, oci::build_spec(inputs));
  agent_container container;
  container.container_id = name;
  container.rootfs = folder;
  container.rootfs_is_path = true;
  container.oci_spec = std::move(spec.json);
  return container;
}

}  // namespace

result<void> rehearse_start(agent_client& agent) {
  const auto folder = std::string(vm_start::machine_dir) + '/' + name;
  ARCA_CHECK(wait_for<void>([&](auto done) { agent.make_directory({}, folder, 0755, true, call_limit, done); }));
  ARCA_CHECK(wait_for<void>(
      [&](auto done) { agent.set_sysctls(oci::network_sysctls(json::object(), false), call_limit, done); }));
  ARCA_CHECK(wait_for<void>([&](auto done) { agent.set_interface("lo", true, call_limit, done); }));
  ARCA_TRY(container, empty_container(folder));
  const auto started = wait_for<agent_started>([&](auto done) { agent.create_container(container, call_limit, done); });
  if (started) return fail(errc::internal, "a program that is not there was started");
  if (started.error().code() == errc::internal) return {};
  return fail(started.error());
}

}  // namespace arca::vm
