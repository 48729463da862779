#include "vm/testing/busybox.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"

namespace arca::vm::testing {

std::string guest_path() {
  if (const char* path = std::getenv("ARCA_GUEST")) return path;
  return ARCA_GUEST_PATH;
}

std::string vm_guest_path() {
  const char* path = std::getenv("ARCA_VM_GUEST");
  return path != nullptr ? path : guest_path();
}

lab::lab() {
  char name[] = "/tmp/arca-vm-XXXXXX";
  root = mkdtemp(name);
  layer = root + "/layer";
  for (const auto* dir : {"/bin", "/etc", "/proc", "/sys", "/dev", "/tmp", "/root"})
    REQUIRE(fs::make_dirs(layer + dir, 0755));
  std::filesystem::copy_file("/bin/busybox", layer + "/bin/busybox");
  for (const auto* tool : {"sh", "cat",   "sleep", "id",    "echo", "ls",   "true", "false", "env",  "hostname",
                           "ip", "mount", "dd",    "touch", "kill", "stty", "grep", "mkdir", "sync", "ps"})
    std::filesystem::create_symlink("busybox", layer + "/bin/" + tool);
  REQUIRE(fs::write_file_atomic(layer + "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0644));
  REQUIRE(fs::write_file_atomic(layer + "/etc/group", "root:x:0:\n", 0644));
  cgroup_parent = "/arca-test-" + random_hex(4);
  settings = {root + "/run", guest_path(), cgroup_parent, 2};
}

lab::~lab() {
  (void)cgroup_tree::host().kill(cgroup_parent);
  (void)cgroup_tree::host().remove(cgroup_parent, 3000);
  (void)fs::remove_tree(root);
}

std::string container_plan::build(const std::string& id) const {
  oci::resolved_user user;
  user.groups = {0};
  user.home = "/root";
  auto spec = oci::build_spec({id,
                               config,
                               host_config,
                               args,
                               user,
                               mounts,
                               "",
                               "",
                               "",
                               "",
                               cgroup,
                               {},
                               false,
                               joined,
                               joined_shm,
                               {},
                               oci::this_host()});
  INFO((spec ? "" : spec.error().message()));
  REQUIRE(spec);
  return spec->json;
}

std::string read_output(int socket) {
  std::string out;
  const auto read_all = [&](void* into, size_t size) {
    auto* at = static_cast<char*>(into);
    while (size > 0) {
      const auto n = ::recv(socket, at, size, 0);
      if (n <= 0) return false;
      at += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  };
  for (;;) {
    stdio::frame frame;
    if (!read_all(&frame, sizeof frame) || frame.length > stdio::max_payload) return out + "<broken>";
    std::string payload(frame.length, '\0');
    if (!read_all(payload.data(), payload.size())) return out + "<broken>";
    if (frame.kind == stdio::frame_kind::output) out += payload;
    if (frame.kind == stdio::frame_kind::end) return out;
  }
}

result<running> run(backend& backend, const lab& in, const std::string& id, container_plan plan) {
  running r;
  plan.cgroup = backend.cgroup_of(id, 1, {});
  machine_order order;
  order.id = id;
  order.cgroup = plan.cgroup;
  ARCA_TRY(box, backend.make(order));
  r.box = std::move(box);
  ARCA_CHECK(r.box->boot(5000));
  auto& agent = r.box->agent();
  agent_configuration configuration;
  configuration.machine_id = id;
  configuration.machine_dir = r.box->identity().dir;
  configuration.cgroup_path = plan.cgroup;
  configuration.sysctls = oci::network_sysctls(plan.host_config, false);
  using namespace std::chrono_literals;
  ARCA_CHECK(wait_for<void>([&](auto done) { agent.configure(configuration, 5000ms, done); }));
  const auto dir = in.root + "/c-" + id.substr(0, 12);
  ARCA_CHECK(fs::make_dirs(dir + "/upper", 0755));
  ARCA_CHECK(fs::make_dirs(dir + "/work", 0700));
  ARCA_TRY(rootfs, r.box->attach_rootfs({{in.layer}, dir + "/upper", dir + "/work", false}));
  r.rootfs = std::move(rootfs);
  ARCA_CHECK(r.box->finish_shares());
  agent_container container;
  container.container_id = id;
  container.rootfs = r.rootfs.token;
  container.oci_spec = plan.build(id);
  container.stdio.spool_limit = 1 << 20;
  container.stdio.tty = plan.config.value("Tty", false);
  ARCA_TRY(stdio, r.box->connect_stdio(id, "init", 1));
  r.stdio = std::move(stdio);
  ARCA_TRY(started, wait_for<agent_started>([&](auto done) { agent.create_container(container, 10000ms, done); }));
  r.started = started;
  return r;
}

}  // namespace arca::vm::testing
