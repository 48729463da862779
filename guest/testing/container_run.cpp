#include "guest/testing/container_run.hpp"

namespace arca::guest::testing {
using nlohmann::json;

json docker_spec(const machine_fixture& m, const std::string& script) {
  json spec = m.spec({"sh", "-c", "exec 2>&1; " + script});
  const json caps = {"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
                     "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
                     "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
                     "CAP_KILL",    "CAP_AUDIT_WRITE"};
  spec["process"]["capabilities"] = {{"bounding", caps}, {"effective", caps}, {"permitted", caps}};
  spec["process"]["noNewPrivileges"] = false;
  spec["mounts"] = json::parse(R"([
    {"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},
    {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
    {"destination":"/dev/pts","type":"devpts","source":"devpts",
     "options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},
    {"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},
    {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro","nosuid","noexec","nodev"]},
    {"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
    {"destination":"/dev/shm","type":"tmpfs","source":"shm",
     "options":["nosuid","noexec","nodev","mode=1777","size=67108864"]}])");
  spec["linux"]["namespaces"].push_back({{"type", "cgroup"}});
  spec["linux"]["maskedPaths"] = {"/proc/acpi",       "/proc/kcore",   "/proc/keys",
                                  "/proc/timer_list", "/sys/firmware", "/proc/nothing"};
  spec["linux"]["readonlyPaths"] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  spec["linux"]["resources"]["devices"] = json::parse(R"([{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}])");
  return spec;
}

outcome run_container(const std::string& launcher, const std::string& script, const change& apply, bool tty) {
  machine_fixture m(true, launcher);
  json spec = docker_spec(m, script);
  if (apply) apply(spec, m);
  auto request = m.create_request(spec);
  request.mutable_stdio()->set_tty(tty);
  request.mutable_stdio()->set_rows(tty ? 30 : 0);
  request.mutable_stdio()->set_columns(tty ? 90 : 0);
  outcome out;
  const auto status = m.create(request);
  out.error = status.error_message();
  if (!status.ok()) return out;
  out.text = m.open_stdio()->read_all();
  out.code = m.wait().code();
  return out;
}

outcome run_exec(machine_fixture& m, const std::string& id, const json& process, bool tty) {
  auto request = m.exec_request(id, {"true"});
  request.set_oci_process(process.dump());
  request.mutable_stdio()->set_tty(tty);
  request.mutable_stdio()->set_rows(tty ? 20 : 0);
  request.mutable_stdio()->set_columns(tty ? 60 : 0);
  outcome out;
  const auto status = m.exec(request);
  out.error = status.error_message();
  if (!status.ok()) return out;
  out.text = m.open_stdio(id)->read_all();
  out.code = m.wait(id).code();
  return out;
}

}  // namespace arca::guest::testing
