// arca doctor: one line a fact, "ok" or "!!" and what to do about it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/overlay.hpp"
#include "tools/arca/commands.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/qemu/virtiofsd.hpp"

namespace arca::cli {
namespace {
int problems = 0;

void line(bool good, const char* what, const std::string& found, const char* remedy) {
  std::printf("%s  %-18s %s%s%s\n", good ? "ok" : "!!", what, found.c_str(), good ? "" : " – ", good ? "" : remedy);
  if (!good) ++problems;
}

bool exists(const char* path) {
  return ::access(path, F_OK) == 0;
}

std::string find_program(const std::string& name) {
  for (const char* dir : {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"})
    if (exists((dir + name).c_str())) return dir + name;
  return {};
}

/// First line that `PROGRAM --version` prints. doctor is the one place where programs are run for a look.
std::string version_of(const std::string& path) {
  const std::string command = path + " --version 2>/dev/null";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::array<char, 256> text{};
  if (!pipe || std::fgets(text.data(), text.size(), pipe.get()) == nullptr) return "version unknown";
  std::string first(text.data());
  return first.substr(0, first.find('\n'));
}

void cgroups() {
  const bool unified = exists("/sys/fs/cgroup/cgroup.controllers");
  const bool hybrid = exists("/sys/fs/cgroup/unified/cgroup.controllers");
  const bool v1 = exists("/sys/fs/cgroup/memory");
  line(unified || v1, "cgroups",
       unified  ? "v2"
       : hybrid ? "hybrid (v1 controllers)"
       : v1     ? "v1"
                : "none",
       "mount cgroup2 on /sys/fs/cgroup");
}

void overlay() {
  const std::string dir = "/tmp/arca-doctor-" + random_hex(6);
  bool works = false;
  std::string how = "not usable";
  if (fs::make_dirs(dir + "/lower")) {
    images::overlay_spec spec;
    spec.lower = {dir + "/lower"};
    if (auto layer = images::make_container_layer(dir)) {
      spec.upper = layer->upper;
      spec.work = layer->work;
      if (auto mounted = images::mount_overlay(spec)) {
        works = true;
        how = "detached mounts work";
      } else {
        how = mounted.error().message();
      }
    }
  }
  if (!fs::remove_tree(dir)) how += " (could not remove " + dir + ")";
  line(works, "overlayfs", how, "run as root on a kernel with overlayfs; the data root must not be an overlay itself");
}

void kvm() {
  if (!exists("/dev/kvm"))
    line(true, "KVM", "no /dev/kvm: virtual machines would be emulated", "");
  else
    line(true, "KVM",
         exists("/sys/module/kvm_pvm") ? "/dev/kvm is PVM: cannot boot ordinary kernels, they are emulated"
                                       : "/dev/kvm is there",
         "");
}

void program(const char* name, bool needed, const char* remedy) {
  const auto path = find_program(name);
  if (!path.empty())
    line(true, name, version_of(path) + " (" + path + ")", "");
  else
    line(!needed, name, needed ? "missing" : std::string("missing; ") + remedy, remedy);
}

/// What virtual machines need; without it everything else works.
void virtual_machines(const settings& config) {
  program("qemu-system-x86_64", false, "virtual machines need it: apt-get install qemu-system-x86");
  const auto share = vm::find_virtiofsd();
  line(true, "virtiofsd", share ? version_of(share->path) + " (" + share->path + ")" : share.error().message(), "");
  auto guest = vm::find_guest(config);
  if (guest)
    if (const auto same = vm::check_agent(*guest, guest_program(config)); !same) guest = fail(same.error());
  line(true, "guest",
       !guest                   ? guest.error().message()
       : guest->version.empty() ? guest->kernel + ", " + guest->initrd + " (settings)"
                                : guest->version + ", kernel " + guest->kernel_release,
       "");
}

void disk(const std::string& data_root) {
  std::string dir = data_root;
  while (!exists(dir.c_str()) && dir.size() > 1) dir = dir.substr(0, std::max<size_t>(1, dir.rfind('/')));
  struct statvfs st {};
  if (::statvfs(dir.c_str(), &st) != 0) return;
  const auto free_mb = static_cast<uint64_t>(st.f_bavail) * st.f_frsize >> 20;
  line(free_mb > 1024, "disk", std::to_string(free_mb) + " MiB free below " + data_root,
       "make room: images need some GiB");
}

void limits() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  line(files.rlim_max >= 4096, "open files", std::to_string(files.rlim_max),
       "raise the hard limit (LimitNOFILE in the unit)");
}

void capabilities() {
  auto status = fs::read_file("/proc/self/status");
  unsigned long long effective = 0;
  if (status)
    if (const auto at = status->find("CapEff:"); at != std::string::npos)
      std::sscanf(status->c_str() + at, "CapEff: %llx", &effective);
  const auto has = [&](int bit) { return (effective >> bit & 1) != 0; };
  line(has(21), "CAP_SYS_ADMIN", has(21) ? "yes" : "no", "run as root: mounts and namespaces need it");
  line(has(12), "CAP_NET_ADMIN", has(12) ? "yes" : "no", "run as root: bridges need it");
  line(true, "CAP_SYS_RESOURCE", has(24) ? "yes" : "no: hard limits of containers are lowered to the daemon's", "");
}
}  // namespace

int doctor(const settings& config) {
  utsname host{};
  ::uname(&host);
  line(true, "kernel", std::string(host.release) + " " + host.machine, "");
  cgroups();
  overlay();
  line(exists("/usr/lib/x86_64-linux-gnu/libnftables.so.1") || exists("/usr/lib/aarch64-linux-gnu/libnftables.so.1"),
       "nftables", "libnftables", "apt-get install libnftables1");
  kvm();
  program("crun", find_program("runc").empty(), "apt-get install crun");
  program("runc", false, "not needed beside crun");
  program("tini-static", false, "docker run --init needs it: apt-get install tini");
  program("docker", false, "the docker CLI: apt-get install docker.io");
  virtual_machines(config);
  disk(config.data_root);
  limits();
  capabilities();
  return problems == 0 ? 0 : 1;
}

}  // namespace arca::cli
