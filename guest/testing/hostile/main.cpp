// arca-hostile-guest, see wish.hpp. In a namespace machine the wish is the text of the file PROGRAM.wish, which is
// taken away when it was read; without one it becomes the real agent, PROGRAM.real. In a virtual machine it is the
// kernel's word arca.hostile.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpcpp/server_posix.h>
#include <ctime>
#include <string>
#include <thread>

#include "guest/agent_log.hpp"
#include "guest/channel/port_channel.hpp"
#include "guest/net_config.hpp"
#include "guest/proto/start.hpp"
#include "guest/proto/vm_start.hpp"
#include "guest/startup.hpp"
#include "guest/testing/hostile/service.hpp"
#include "guest/testing/hostile/stdio.hpp"
#include "guest/testing/hostile/wire.hpp"
#include "guest/vm/boot.hpp"
#include "guest/vm/kernel_modules.hpp"
#include "persistence/base/fs.hpp"

namespace arca::hostile {

int64_t now_nanos() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void wait_for_ever() {
  for (;;) pause();
}

namespace {

std::unique_ptr<grpc::Server> start_grpc(grpc::Service& service, grpc::Service* of_stdio = nullptr) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  if (of_stdio) builder.RegisterService(of_stdio);
  builder.SetMaxSendMessageSize(-1);
  return builder.BuildAndStart();
}

// ---- a namespace machine

unique_fd accept_at(int listener) {
  pollfd ready{listener, POLLIN, 0};
  poll(&ready, 1, -1);
  return unique_fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

/// Before the first byte on the pool's socket.
void get_ready(const wish& wanted, int pool) {
  const auto say = [pool](std::string_view text) { return ::send(pool, text.data(), text.size(), MSG_NOSIGNAL) > 0; };
  if (wanted.is("ready", "never")) wait_for_ever();
  if (wanted.is("ready", "wrong")) say("X");
  if (wanted.is("ready", "endless"))
    while (say(std::string(64 << 10, 'A'))) {
    }
  if (wanted.is("ready", "exit")) _exit(3);
  say({&guest_start::ready, 1});
}

int serve_namespace(const wish& wanted, const std::string& dir, int pool, bool host_network) {
  guest::drop_inheritance(pool);
  guest::become_supervisor();
  if (!guest::isolate(host_network)) return 1;
  auto calls = guest::listen_unix(dir + '/' + guest_start::agent_socket);
  auto bytes = guest::listen_unix(dir + '/' + guest_start::stdio_socket);
  if (!calls || !bytes) return 1;
  static processes all;
  const auto service = make_service(wanted, all, false, [pool] { ::shutdown(pool, SHUT_WR); });
  const auto server = start_grpc(*service);
  std::thread([&wanted, listener = bytes->get()] {
    for (;;)
      if (auto socket = accept_at(listener))
        std::thread([&wanted, fd = socket.release()] { serve_stdio(unique_fd(fd), wanted, all); }).detach();
  }).detach();
  std::thread([&wanted, pool] { get_ready(wanted, pool); }).detach();
  for (;;)
    if (auto socket = accept_at(calls->get())) {
      fcntl(socket.get(), F_SETFL, O_NONBLOCK);
      grpc::AddInsecureChannelFromFd(server.get(), through_wire(std::move(socket), wanted).release());
    }
}

int run_beside(int argc, char** argv) {
  std::string dir;
  int pool = -1;
  bool host_network = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == guest_start::flag_host_network) host_network = true;
    if (flag == guest_start::flag_machine_dir && i + 1 < argc) dir = argv[++i];
    if (flag == guest_start::flag_pool_fd && i + 1 < argc) pool = std::stoi(argv[++i]);
  }
  const std::string program = argv[0], note = program + ".wish", taken = note + '.' + std::to_string(getpid());
  if (rename(note.c_str(), taken.c_str()) != 0) {
    execv((program + ".real").c_str(), argv);
    return 1;
  }
  const auto text = fs::read_file(taken, 4096);
  unlink(taken.c_str());
  static const auto wanted = wish_of(text ? *text : std::string());
  return serve_namespace(wanted, dir, pool, host_network);
}

// ---- a virtual machine

void talk_at_port(const wish& wanted, int port) {
  fcntl(port, F_SETFL, O_RDWR);
  const auto say = [port](std::string_view text) {
    const auto n = write(port, text.data(), text.size());
    if (n < 0) usleep(1000);  // no host yet
  };
  if (wanted.how == "never") {
    (void)!write(STDERR_FILENO, "hostile: it is asked\n", 21);
    wait_for_ever();
  }
  char line[vm_start::line_length] = {};
  for (size_t have = 0; have < sizeof line;) {
    const auto n = read(port, line + have, sizeof line - have);
    if (n > 0)
      have += static_cast<size_t>(n);
    else
      usleep(1000);
  }
  if (wanted.how == "half") {
    say({line, sizeof line / 2});
    wait_for_ever();
  }
  const std::string noise(32 << 10, 'A');
  for (;;) say(noise);
}

result<void> serve_vm() {
  ARCA_CHECK(guest::mount_everything());
  static const auto wanted = wish_of(guest::kernel_word("arca.hostile"));
  const guest::uevents news;
  ARCA_TRY(order, fs::read_file("/lib/modules/order", 1u << 20));
  guest::kernel_modules modules(order, "/lib/modules");
  ARCA_CHECK(modules.load_first());
  ARCA_CHECK(guest::bring_up_loopback());
  if (wanted.is("console", "flood"))
    std::thread([] {
      const unique_fd console(::open("/dev/console", O_WRONLY | O_CLOEXEC));
      const std::string line(4000, 'c');
      while (fs::write_all(console.get(), line + '\n')) {
      }
    }).detach();
  ARCA_TRY(port, guest::open_port(news));
  if (wanted.what == "line") talk_at_port(wanted, port.get());

  processes all;
  const auto service = make_service(wanted, all, true, [] {});
  const auto of_stdio = make_stdio_service(wanted, all);
  const auto server = start_grpc(*service, of_stdio.get());
  guest::loop main_loop;
  const auto channel = guest::bridge_port(main_loop, std::move(port), [&](unique_fd connection) {
    grpc::AddInsecureChannelFromFd(server.get(), through_wire(std::move(connection), wanted).release());
  });
  main_loop.run();
  return {};
}

}  // namespace
}  // namespace arca::hostile

int main(int argc, char** argv) {
  using namespace arca;
  if (getpid() != 1) return hostile::run_beside(argc, argv);
  clearenv();
  setenv("GRPC_POLL_STRATEGY", "epoll1", 1);
  guest::become_supervisor();
  const auto done = hostile::serve_vm();
  guest::power_off(done ? "the hostile agent ends" : done.error().message());
}
