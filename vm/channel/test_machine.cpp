#include "vm/channel/test_machine.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/setup.hpp"

namespace arca::vm::testing {
namespace {
constexpr const char* qemu = "/usr/bin/qemu-system-x86_64";

// Made once in the build folder, and again when the agent is another one.
result<guest_image>& the_guest() {
  static result<guest_image> guest = []() -> result<guest_image> {
    setup_order order;
    order.data_root = ARCA_TEST_DATA_ROOT;
    const char* other = std::getenv("ARCA_VM_GUEST");  // that of a sanitizer build is not static
    order.agent_path = other != nullptr ? other : ARCA_GUEST_PATH;
    ARCA_CHECK(fs::make_dirs(order.data_root));
    ARCA_CHECK(set_up_guest(order));
    return find_guest(order.data_root);
  }();
  return guest;
}

// One more archive behind the guest's own: the kernel unpacks them all.
std::string archive_entry(const std::string& name, unsigned mode, const std::string& content, bool end = false) {
  static unsigned inode = 1000;
  std::array<char, 128> head{};
  std::snprintf(head.data(), head.size(), "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X", ++inode, mode,
                0U, 0U, 1U, 0U, content.size(), 0U, 0U, 0U, 0U, name.size() + 1, 0U);
  std::string out = head.data() + name + '\0';
  out.resize((out.size() + 3) / 4 * 4);
  out += content;
  out.resize((out.size() + 3) / 4 * 4 + (end ? 512 : 0));
  return out;
}

std::string root_with_busybox() {
  const auto busybox = fs::read_file("/bin/busybox");
  if (!busybox) return {};
  std::string out;
  for (const char* folder : {"", "/bin", "/proc", "/sys", "/dev", "/tmp", "/etc"})
    out += archive_entry(std::string("testroot") + folder, 040755, "");
  out += archive_entry("testroot/bin/busybox", 0100755, *busybox);
  for (const char* name : {"sh", "cat", "date", "echo", "sleep", "yes", "nc", "head", "seq", "mount", "ip", "ls", "dd",
                           "wc", "grep", "sha256sum"})
    out += archive_entry(std::string("testroot/bin/") + name, 0120777, "busybox");
  return out + archive_entry("TRAILER!!!", 0, "", true);
}

[[noreturn]] void give_up(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

unique_fd listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(made.get(), 8) != 0)
    give_up("listen at " + path);
  return made;
}
}  // namespace

std::string reason_not_to_boot() {
  if (access(qemu, X_OK) != 0) return std::string(qemu) + " is not installed";
  const auto& guest = the_guest();
  if (guest) return {};
  // Without a network and an earlier run there is no kernel; everything else is a failure.
  if (guest.error().code() == errc::unavailable || guest.error().code() == errc::not_found)
    return guest.error().message();
  throw std::runtime_error(guest.error().message());
}

test_machine::test_machine(const std::string& words, const std::vector<std::string>& arguments)
    : dir_("/tmp/arca-channel-itest-" + random_hex(6)), socket_(dir_ + "/agent.sock"), secret_(new_agent_secret()) {
  if (!fs::make_dirs(dir_)) give_up(dir_);
  const unique_fd listener = listen_at(socket_);
  auto initrd = fs::read_file(the_guest()->initrd);
  if (!initrd || !fs::write_file_atomic(dir_ + "/initrd", *initrd + root_with_busybox())) give_up("initrd");
  std::vector<std::string> all{
      qemu,
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-no-reboot",
      "-accel",
      "tcg,tb-size=64",
      "-M",
      "q35,sata=off,smbus=off,i8042=off,vmport=off,usb=off,graphics=off",
      "-cpu",
      "max,-erms,-fsrm,-la57,-smap,-smep,-pku,-umip",
      "-smp",
      "1",
      "-m",
      "256M",
      "-kernel",
      the_guest()->kernel,
      "-initrd",
      dir_ + "/initrd",
      "-append",
      "console=ttyS0 quiet panic=-1 cryptomgr.notests noreplace-smp mitigations=off no_timer_check " + words,
      "-chardev",
      "file,id=con,path=" + dir_ + "/console.log",
      "-serial",
      "chardev:con",
      "-device",
      "virtio-serial-pci,id=vs0",
      "-chardev",
      "socket,id=c0,fd=" + std::to_string(listener.get()) + ",server=on,wait=off",
      "-device",
      "virtserialport,bus=vs0.0,chardev=c0,name=agent,id=agent",
      "-device",
      "pvpanic-pci",
      "-action",
      "panic=exit-failure"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& each : all) argv.push_back(each.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    fcntl(listener.get(), F_SETFD, 0);
    const int out = open((dir_ + "/qemu.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    dup2(out, 1);
    dup2(out, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (pid_ < 0) give_up("fork");
  pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
}

test_machine::~test_machine() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  (void)fs::remove_tree(dir_);
}

std::shared_ptr<agent_client> test_machine::connect(int deadline_ms) const {
  auto socket = connect_agent(socket_, secret_, deadline_ms);
  if (!socket)
    throw std::runtime_error(socket.error().message() + "\n" + console() +
                             fs::read_file(dir_ + "/qemu.log").value_or(""));
  return agent_client::over(std::move(*socket));
}

std::string test_machine::console() const {
  return fs::read_file(dir_ + "/console.log").value_or("");
}

double test_machine::cpu_ms() const {
  clockid_t clock = 0;
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

int test_machine::wait_ended(int limit_ms) {
  pollfd end{pidfd_.get(), POLLIN, 0};
  int status = 0;
  if (poll(&end, 1, limit_ms) != 1 || waitpid(pid_, &status, 0) != pid_) return -1;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace arca::vm::testing
