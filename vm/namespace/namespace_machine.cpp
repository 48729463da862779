#include "vm/namespace/namespace_machine.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/proto/start.hpp"
#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/images/overlay.hpp"
#include "vm/cgroup.hpp"
#include "vm/namespace/namespace_backend.hpp"
#include "vm/network/links.hpp"

namespace arca::vm {
namespace {

constexpr int socket_limit_s = 5;  ///< connect, send and the agent's one-byte answer
constexpr int cgroup_patience_ms = 4000;
constexpr std::chrono::seconds interface_limit{30};  ///< part of a start: a busy host's agent gets its processor late

result<unique_fd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(errc::invalid_argument, "socket path is too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  const timeval limit{socket_limit_s, 0};  // a frozen agent's backlog may be full
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EAGAIN || errno == EINPROGRESS) return fail(errc::timeout, "the machine's agent does not answer");
    return fail_errno("connect to " + path);
  }
  return fd;
}

}  // namespace

namespace_machine::namespace_machine(namespace_backend& backend, machine_identity identity, bool host_network)
    : backend_(backend), identity_(std::move(identity)), host_network_(host_network) {}

/// One that was not destroyed runs on for whoever adopts it; a sweep takes it if nobody does.
namespace_machine::~namespace_machine() {
  if (!destroyed_) backend_.disown(identity_.dir, identity_.cgroup);
}

result<agent_hello> namespace_machine::connect(int deadline_ms) {
  ARCA_TRY(socket, connect_unix(identity_.dir + '/' + guest_start::agent_socket));
  const timeval none{0, 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
  client_ = agent_client::over(std::move(socket));
  return wait_for<agent_hello>([&](auto done) {
    client_->hello(backend_.generation(), std::chrono::milliseconds(deadline_ms), std::move(done));
  });
}

result<void> namespace_machine::boot(int deadline_ms) {
  ARCA_TRY(agent, backend_.pool().take(host_network_, deadline_ms));
  identity_.dir = agent.dir;
  identity_.pid = agent.pid;
  identity_.start_time = start_time_of(agent.pid);
  pidfd_ = std::move(agent.pidfd);
  pool_socket_ = std::move(agent.pool_socket);
  backend_.own(identity_.dir, {});
  backend_.pool().taken(identity_.dir);
  return connect(deadline_ms).map([](auto&&) {});
}

result<agent_hello> namespace_machine::adopt(int deadline_ms) {
  const auto gone = [](const char* why) {
    return fail(errc::gone, std::string("the machine's agent has ended: ") + why);
  };
  if (identity_.boot_id != host_boot_id()) return gone("the host was restarted");
  auto process = open_process(identity_.pid, identity_.start_time);
  if (!process) return gone(process.error().message().c_str());
  pidfd_ = std::move(*process);
  return connect(deadline_ms);
}

result<unique_fd> namespace_machine::connect_stdio(const std::string& container, const std::string& process,
                                                   uint64_t first_sequence) {
  stdio::hello hello;
  hello.generation = backend_.generation();
  hello.first_sequence = first_sequence;
  if (!stdio::set_name(hello.container_id, container) || !stdio::set_name(hello.process_id, process))
    return fail(errc::invalid_argument, "a container or process id has more than 64 bytes");
  ARCA_TRY(socket, connect_unix(identity_.dir + '/' + guest_start::stdio_socket));
  ARCA_CHECK(fs::write_all(socket.get(), {reinterpret_cast<const char*>(&hello), sizeof hello}));
  return std::move(socket);
}

result<std::string> namespace_machine::hand_over(int fd, const char* what) {
  const std::string token = std::string(what) + '-' + std::to_string(++tokens_);
  stdio::hello hello;
  hello.kind = stdio::hello_kind::fd;
  hello.generation = backend_.generation();
  stdio::set_name(hello.process_id, token);
  ARCA_TRY(socket, connect_unix(identity_.dir + '/' + guest_start::stdio_socket));
  iovec bytes{&hello, sizeof hello};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ssize_t n = 0;
  do n = sendmsg(socket.get(), &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(sizeof hello)) return fail_errno("send a descriptor to the machine's agent");
  char answer = 1;
  do n = ::read(socket.get(), &answer, 1);
  while (n < 0 && errno == EINTR);
  if (n == 1 && answer == 0) return token;
  if (n < 0 && errno == EAGAIN) return fail(errc::timeout, "the machine's agent does not answer");
  if (n <= 0) return fail(errc::unavailable, "the machine's agent has gone");
  return fail(errc::internal, "the machine's agent refused a descriptor");
}

result<machine::attached_rootfs> namespace_machine::attach_rootfs(const rootfs_spec& rootfs) {
  images::overlay_spec overlay;
  overlay.lower = rootfs.lower;
  overlay.upper = rootfs.upper;
  overlay.work = rootfs.work;
  // A read-only container still needs mount points made in it: the launcher sets the flag when they are there.
  attached_rootfs attached;
  ARCA_TRY(root, images::mount_overlay(overlay));
  ARCA_TRY(token, hand_over(root.get(), "rootfs"));
  attached.root = std::move(root);
  attached.token = std::move(token);
  return attached;
}

result<std::string> namespace_machine::share(unique_fd source, bool read_only, bool recursive) {
  const unsigned flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? unsigned{AT_RECURSIVE} : 0u);
  const unique_fd tree(static_cast<int>(syscall(SYS_open_tree, source.get(), "", flags)));
  if (!tree) return fail_errno("clone of a mount");
  if (read_only) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                sizeof attributes) != 0)
      return fail_errno("read-only mount");
  }
  return hand_over(tree.get(), "mount");
}

result<unique_fd> namespace_machine::open_root(int64_t init_pid) {
  const auto path = "/proc/" + std::to_string(init_pid) + "/root";
  unique_fd root(init_pid > 0 ? ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1);
  if (!root) return fail(errc::conflict, "container " + identity_.id + " is not running");
  return root;
}

result<void> namespace_machine::attach_nic(const nic_spec& nic) {
  const unique_fd netns(::open(("/proc/" + std::to_string(identity_.pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns) return fail_errno("network namespace of the machine");
  if (has_ended(pidfd_.get())) return fail(errc::gone, "the machine's agent has ended");  // else the pid is the agent's
  net::veth_spec veth;
  veth.bridge = nic.bridge;
  veth.host_name = nic.host_name;
  veth.guest_name = nic.name;
  veth.mac = nic.mac;
  veth.mtu = nic.mtu;
  ARCA_CHECK(net::create_veth(veth, netns.get()));
  failpoint::reached("nic");
  agent_interface inside;
  inside.name = nic.name;
  inside.addresses = nic.addresses;
  inside.gateway4 = nic.gateway4;
  inside.gateway6 = nic.gateway6;
  inside.mtu = nic.mtu;
  return wait_for<void>([&](auto done) { client_->configure_interface(inside, interface_limit, std::move(done)); });
}

result<void> namespace_machine::detach_nic(const std::string& name) {
  return wait_for<void>(
      [&](auto done) { client_->remove_interface(name, std::chrono::seconds(socket_limit_s), std::move(done)); });
}

result<void> namespace_machine::pause() {
  return cgroup_tree::host().freeze(identity_.cgroup, true);
}
result<void> namespace_machine::resume() {
  return cgroup_tree::host().freeze(identity_.cgroup, false);
}

result<void> namespace_machine::kill_container() {
  ARCA_TRY(any, cgroup_tree::host().kill(identity_.cgroup));
  (void)any;
  return {};
}

void namespace_machine::kill() {
  if (pidfd_) send_signal(pidfd_.get(), SIGKILL);
  (void)cgroup_tree::host().kill(identity_.cgroup);
}

void namespace_machine::destroy() {
  if (destroyed_.exchange(true)) return;
  const auto& tree = cgroup_tree::host();
  (void)tree.kill(identity_.cgroup);
  if (pidfd_ && !wait_for_end(pidfd_.get(), 0)) {
    send_signal(pidfd_.get(), SIGKILL);
    wait_for_end(pidfd_.get(), 2000);
  }
  failpoint::reached("agent-ended");
  if (auto removed = tree.remove(identity_.cgroup, cgroup_patience_ms); !removed)
    log::warn("cgroup is left behind", log::kv("container", identity_.id),
              log::kv("reason", removed.error().message()));
  if (!identity_.dir.empty())
    if (auto removed = fs::remove_tree(identity_.dir); !removed)
      log::warn("machine folder is left behind", log::kv("container", identity_.id),
                log::kv("reason", removed.error().message()));
  backend_.disown(identity_.dir, identity_.cgroup);
}

std::string namespace_machine::boot_log(size_t limit) const {
  auto text = fs::read_file(identity_.dir + '/' + guest_start::log_file, 1 << 20);
  if (!text) return {};
  return text->size() > limit ? text->substr(text->size() - limit) : *text;
}

}  // namespace arca::vm
