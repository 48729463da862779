#include "http/server.hpp"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>
#include <future>
#include <thread>

#include "actors/core/ask.hpp"
#include "http/connection.hpp"
#include "persistence/base/log.hpp"

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace arca::http {
namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr auto sweep_every = 1s;

awaitable<void> pause(asio::io_context& io, std::chrono::milliseconds time) {
  asio::steady_timer timer(io, time);
  co_await timer.async_wait(as_result);
}

// Runs while the shard has connections.
awaitable<void> sweep(shard& home) {
  while (!home.connections.empty()) {
    co_await pause(home.io, home.server.bounds.header_time < 4s ? 50ms : sweep_every);
    const auto now = std::chrono::steady_clock::now();
    for (auto* c : home.connections) c->sweep(now);
  }
  home.sweeping = false;
}

void welcome(shard& home, unique_fd socket, int family, const std::shared_ptr<tls_context>& tls) {
  std::make_shared<connection>(home, make_transport(home.io, std::move(socket), family, tls))->begin();
  if (home.sweeping) return;
  home.sweeping = true;
  asio::co_spawn(home.io, sweep(home), asio::detached);
}

}  // namespace

struct server::impl {
  struct door {
    door(asio::io_context& io, bound_socket s)
        : listening(io, s.fd.release()), family(s.family), tls(s.tls), path(std::move(s.path)) {
      struct stat info {};
      if (!path.empty() && ::lstat(path.c_str(), &info) == 0) inode = info.st_ino;
    }
    asio::posix::stream_descriptor listening;
    int family;
    bool tls;
    std::string path;
    ino_t inode = 0;
  };

  server_state state;
  std::vector<std::unique_ptr<shard>> shards;
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards;
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<door>> doors;
  std::shared_ptr<tls_context> tls;
  std::vector<std::string> addresses;
  size_t next_shard = 0;
  bool stopped = false;

  awaitable<void> accept(door& d);
  void run_on_all(const std::function<void(shard&)>& work);
  bool wait_until_empty(std::chrono::milliseconds most) const;
};

awaitable<void> server::impl::accept(door& d) {
  auto& io = shards.front()->io;
  for (;;) {
    if (state.connections.load(std::memory_order_relaxed) >= state.bounds.max_connections) {
      co_await pause(io, 20ms);
      if (!d.listening.is_open()) co_return;
      continue;
    }
    unique_fd socket(::accept4(d.listening.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EAGAIN) {
        const auto [ec] = co_await d.listening.async_wait(asio::posix::descriptor_base::wait_read, as_result);
        if (ec) co_return;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log::warn("cannot accept a connection", log::kv("error", std::strerror(errno)));
        co_await pause(io, 100ms);
        if (!d.listening.is_open()) co_return;
      } else if (errno == EBADF || errno == EINVAL) {
        co_return;
      }
      continue;
    }
    state.connections.fetch_add(1, std::memory_order_relaxed);
    auto& home = *shards[next_shard++ % shards.size()];
    asio::post(home.io, [&home, fd = std::move(socket), family = d.family, context = d.tls ? tls : nullptr]() mutable {
      welcome(home, std::move(fd), family, context);
    });
  }
}

void server::impl::run_on_all(const std::function<void(shard&)>& work) {
  for (auto& s : shards) {
    auto done = std::make_shared<std::promise<void>>();
    asio::post(s->io, [home = s.get(), work, done] {
      work(*home);
      done->set_value();
    });
    done->get_future().wait_for(1s);
  }
}

bool server::impl::wait_until_empty(std::chrono::milliseconds most) const {
  const auto end = std::chrono::steady_clock::now() + most;
  while (state.connections.load(std::memory_order_relaxed) > 0) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

server::server() : impl_(std::make_unique<impl>()) {}

result<std::unique_ptr<server>> server::start(const server_options& options, const std::vector<listener>& listeners,
                                              const router& routes, services* handed_through,
                                              caf::actor_system* system) {
  std::unique_ptr<server> made(new server);
  auto& s = *made->impl_;
  s.stopped = true;  // until the threads run
  s.state.routes = &routes;
  s.state.handed_through = handed_through;
  s.state.bounds = options.bounds;
  for (const auto& l : listeners) {
    if (!l.tls || s.tls != nullptr) continue;
    ARCA_TRY(context, tls_context::make(options.tls_certificate, options.tls_key, options.tls_ca, options.tls_verify));
    s.tls = std::move(context);
  }
  ARCA_TRY(sockets, bind_all(listeners));
  for (size_t i = 0; i < std::max<size_t>(options.threads, 1); ++i) {
    auto& home = *s.shards.emplace_back(std::make_unique<shard>(s.state));
    if (system != nullptr) home.port = std::make_unique<ask_port>(*system, home.io);
    s.guards.emplace_back(home.io.get_executor());
  }
  auto& first = s.shards.front()->io;
  for (auto& socket : sockets) {
    s.addresses.push_back(socket.address);
    auto& d = *s.doors.emplace_back(std::make_unique<impl::door>(first, std::move(socket)));
    asio::co_spawn(first, s.accept(d), asio::detached);
  }
  for (auto& home : s.shards) {
    s.threads.emplace_back([&io = home->io] { io.run(); });
    ::pthread_setname_np(s.threads.back().native_handle(), "arca-http");
  }
  s.stopped = false;
  return made;
}

void server::stop(std::chrono::milliseconds grace) {
  auto& s = *impl_;
  if (s.stopped) return;
  s.stopped = true;
  s.state.stopping = true;
  asio::post(s.shards.front()->io, [&s] {
    for (auto& d : s.doors) {
      boost::system::error_code ec;
      d->listening.close(ec);
      struct stat info {};
      if (!d->path.empty() && ::lstat(d->path.c_str(), &info) == 0 && info.st_ino == d->inode)
        ::unlink(d->path.c_str());
    }
  });
  s.run_on_all([](shard& home) {
    for (auto* c : home.connections) c->drain();
  });
  bool empty = s.wait_until_empty(grace);
  if (!empty) {
    s.run_on_all([](shard& home) {
      for (auto* c : home.connections) c->close();
    });
    empty = s.wait_until_empty(1s);
  }
  for (auto& guard : s.guards) guard.reset();
  for (auto& home : s.shards) home->io.stop();
  for (auto& thread : s.threads) thread.join();
  if (empty) return;
  // A handler still waits for something that may yet call back into its io_context: that must not be destroyed.
  log::warn("requests were still open when the server stopped",
            log::kv("connections", static_cast<int64_t>(s.state.connections.load())));
  (void)impl_.release();
}

server::~server() {
  if (impl_ != nullptr) stop(0ms);
}

const std::vector<std::string>& server::addresses() const {
  return impl_->addresses;
}
size_t server::connections() const {
  return impl_ == nullptr ? 0 : impl_->state.connections.load(std::memory_order_relaxed);
}

}  // namespace arca::http
