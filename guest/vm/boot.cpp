#include "guest/vm/boot.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr auto port_limit = 20'000ms;
constexpr const char* ports_folder = "/sys/class/virtio-ports";

struct mount_point {
  const char* type;
  const char* at;
  unsigned long flags;
  const char* data;
  bool optional = false;  ///< the kernel may be built without it
};
constexpr unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr mount_point mount_points[] = {
    {"proc", "/proc", quiet, nullptr},
    {"sysfs", "/sys", quiet, nullptr},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,gid=5"},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"mqueue", "/dev/mqueue", quiet, nullptr, true},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"cgroup2", "/sys/fs/cgroup", quiet, nullptr},
    {"bpf", "/sys/fs/bpf", quiet, "mode=0700", true},
};

// pivot_root refuses the initramfs: it is no mount that has a parent.
result<void> leave_initramfs() {
  constexpr const char* next = "/.root";
  if (mkdir(next, 0755) != 0 && errno != EEXIST) return fail_errno(next);
  if (::mount("/", next, nullptr, MS_BIND, nullptr) != 0 || chdir(next) != 0 ||
      ::mount(next, "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0)
    return fail_errno("move the root");
  return {};
}

// Descriptors 0, 1 and 2 are the console, so that what a library says before it dies is seen.
void take_console() {
  const unique_fd console(::open("/dev/console", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!console) return;
  for (int fd = 0; fd < 3; ++fd)
    if (fd != console.get()) dup2(console.get(), fd);
}

void delegate_controllers() {
  for (const char* controller : {"+cpu", "+memory", "+pids", "+io", "+cpuset"}) {  // each by itself: one may be missing
    const unique_fd control(::open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC));
    if (control) (void)fs::write_all(control.get(), controller);
  }
}

std::string device_of_port() {
  const auto ports = fs::list(ports_folder);
  if (!ports) return {};
  for (const auto& port : *ports) {
    const auto name = fs::read_file(std::string(ports_folder) + '/' + port + "/name", 256);
    if (name && *name == std::string(vm_start::port_name) + '\n') return "/dev/" + port;
  }
  return {};
}
}  // namespace

result<void> mount_everything() {
  ARCA_CHECK(leave_initramfs());
  for (const auto& each : mount_points) {
    mkdir(each.at, 0755);
    if (::mount(each.type, each.at, each.type, each.flags, each.data) != 0 && !each.optional)
      return fail_errno(std::string("mount ") + each.at);
  }
  take_console();
  for (const auto& [target, link] : {std::pair("/proc/self/fd", "/dev/fd"),
                                     {"/proc/self/fd/0", "/dev/stdin"},
                                     {"/proc/self/fd/1", "/dev/stdout"},
                                     {"/proc/self/fd/2", "/dev/stderr"}})
    (void)!symlink(target, link);
  delegate_controllers();
  return fs::make_dirs(vm_start::machine_dir);
}

void raise_limits() {
  for (const int which : {RLIMIT_NPROC, RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_SIGPENDING}) {
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(static_cast<__rlimit_resource>(which), &none);
  }
  rlimit files{1u << 20, 1u << 20};  // fs.nr_open's default
  setrlimit(RLIMIT_NOFILE, &files);
}

void report_small_blocks() {
  // The balloon's driver sets it when it is loaded, whatever the command line says.
  const unique_fd order(::open("/sys/module/page_reporting/parameters/page_reporting_order", O_WRONLY | O_CLOEXEC));
  if (order) (void)fs::write_all(order.get(), "6");
}

std::string kernel_word(std::string_view name) {
  const auto line = fs::read_file("/proc/cmdline", 64u << 10);
  if (!line) return {};
  for (auto& word : split(line->substr(0, line->find('\n')), ' '))
    if (starts_with(word, std::string(name) + '=')) return word.substr(name.size() + 1);
  return {};
}

result<unique_fd> open_port(const uevents& news) {
  std::string device;
  // The port's name comes a moment after the port, with an event of its own.
  if (!news.wait("virtio-ports", port_limit, [&] { return !(device = device_of_port()).empty(); }))
    return fail(errc::timeout, std::string("the machine has no port named ") + vm_start::port_name);
  return fs::open(device, O_RDWR | O_NONBLOCK);
}

void power_off(std::string_view reason) {
  if (!reason.empty()) {
    const unique_fd console(::open("/dev/console", O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (console) (void)fs::write_all(console.get(), "arca-guest: " + std::string(reason) + "\n");
  }
  sync();
  reboot(RB_POWER_OFF);
  _exit(1);  // a kernel that cannot power off panics, and that ends the machine too
}

}  // namespace arca::guest
