#include "guest/stdio_server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "guest/agent_log.hpp"
#include "guest/fd_passing.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr auto hello_limit = 5000ms;
constexpr auto waiting_limit = 60'000ms;

}  // namespace

stdio_server::stdio_server(loop& on, unique_fd listener, std::function<bool(uint64_t)> accept_generation,
                           std::function<process_stdio*(const std::string&, const std::string&)> find)
    : loop_(on),
      listener_(std::move(listener)),
      accept_generation_(std::move(accept_generation)),
      find_(std::move(find)) {
  if (listener_) loop_.watch(listener_.get(), EPOLLIN, [this](uint32_t) { on_listener(); });
}

stdio_server::~stdio_server() {
  loop_.forget(listener_.get());
  while (!connections_.empty()) drop(connections_.begin()->first);
  while (!waiting_.empty()) drop(waiting_.begin());
}

void stdio_server::on_listener() {
  unique_fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  if (!peer_is_root(socket.get()) || !accept(std::move(socket))) log().write("stdio: connection refused");
}

bool stdio_server::accept(unique_fd socket) {
  if (connections_.size() + waiting_.size() >= max_connections) return false;
  const int fd = socket.get();
  connection& made = connections_[fd];
  made.socket = std::move(socket);
  made.limit = loop_.after(hello_limit, [this, fd] { drop(fd); });
  loop_.watch(fd, EPOLLIN, [this, fd](uint32_t) { on_readable(fd); });
  on_readable(fd);  // the hello is mostly there already
  return true;
}

void stdio_server::on_readable(int socket) {
  connection& from = connections_[socket];
  auto* into = reinterpret_cast<char*>(&from.hello);
  const ssize_t n = receive_with_fd(socket, into + from.have, sizeof from.hello - from.have, from.passed);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(socket);
  from.have += static_cast<size_t>(n);
  if (from.have == sizeof from.hello) greet(from);
}

void stdio_server::greet(connection& from) {
  if (from.hello.kind == stdio::hello_kind::fd) return accepts(from.hello) ? keep(from) : drop(from.socket.get());
  connection mine = release(from.socket.get());
  adopt(mine.hello, std::make_unique<stdio_socket>(loop_, std::move(mine.socket)));
}

bool stdio_server::accepts(const stdio::hello& hello) const {
  if (hello.magic_number == stdio::magic && accept_generation_(hello.generation)) return true;
  log().write("stdio: hello refused");
  return false;
}

bool stdio_server::adopt(const stdio::hello& hello, std::unique_ptr<stdio_connection> connection) {
  if (!accepts(hello) || hello.kind != stdio::hello_kind::process) return false;
  if (process_stdio* found = find_(stdio::name_of(hello.container_id), stdio::name_of(hello.process_id))) {
    found->attach(std::move(connection), hello.first_sequence);
    return true;
  }
  // It came before the call that makes its process. Frames stay in the connection until then.
  if (connections_.size() + waiting_.size() >= max_connections) return false;
  const auto made = waiting_.insert(waiting_.end(), {hello, std::move(connection), 0});
  made->limit = loop_.after(waiting_limit, [this, made] { drop(made); });
  made->connection->await_end([this, made] { drop(made); });
  return true;
}

void stdio_server::keep(connection& from) {
  if (from.passed && keep(stdio::name_of(from.hello.process_id), std::move(from.passed))) {
    const char got = 0;
    (void)::send(from.socket.get(), &got, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  drop(from.socket.get());
}

bool stdio_server::keep(const std::string& token, unique_fd what) {
  if (token.empty() || (kept_.size() >= max_kept && !kept_.contains(token))) return false;
  kept_[token] = std::move(what);
  return true;
}

stdio_server::connection stdio_server::release(int socket) {
  const auto found = connections_.find(socket);
  loop_.forget(socket);
  loop_.cancel(found->second.limit);
  connection out = std::move(found->second);
  connections_.erase(found);
  return out;
}

void stdio_server::drop(int socket) {
  if (connections_.contains(socket)) release(socket);
}

void stdio_server::drop(std::list<waiting>::iterator which) {
  loop_.cancel(which->limit);
  waiting_.erase(which);
}

unique_fd stdio_server::take(const std::string& token) {
  const auto found = kept_.find(token);
  if (found == kept_.end()) return {};
  unique_fd out = std::move(found->second);
  kept_.erase(found);
  return out;
}

void stdio_server::made(const std::string& container, const std::string& process, process_stdio& stdio) {
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    if (stdio::name_of(it->hello.container_id) != container || stdio::name_of(it->hello.process_id) != process)
      continue;
    auto connection = std::move(it->connection);
    const auto first = it->hello.first_sequence;
    drop(it);
    return stdio.attach(std::move(connection), first);
  }
}

}  // namespace arca::guest
