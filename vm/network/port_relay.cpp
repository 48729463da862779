#include "vm/network/port_relay.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace arca::net {
namespace {
constexpr int accept_pause_ms = 200;  // when descriptors are short
constexpr int session_sweep_ms = 10'000;

unique_fd socket_towards(int type, ip4 target, uint16_t port, bool& connecting) {
  unique_fd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(target);
  to.sin_port = htons(port);
  connecting = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0;
  if (connecting && errno != EINPROGRESS) fd.reset();
  return fd;
}
}  // namespace

class port_relay::loop {
 public:
  explicit loop(limits l)
      : limits_(l), epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  ~loop() {
    if (!thread_.joinable()) return;
    in_thread([this] { ended_ = true; });
    thread_.join();
  }

  result<uint64_t> add(unique_fd socket, bool datagrams, ip4 target, uint16_t port) {
    if (!epoll_ || !wake_) return fail(errc::internal, "no descriptors left for a published port");
    if (!thread_.joinable()) start();
    auto l = std::make_unique<listener>();
    l->fd = std::move(socket);
    l->datagrams = datagrams;
    l->target = target;
    l->port = port;
    const uint64_t id = ++last_id_;
    in_thread([&] {
      watch(*l, EPOLLIN, EPOLL_CTL_ADD);
      listeners_[id] = std::move(l);
    });
    return id;
  }

  void remove(uint64_t id) {
    if (!thread_.joinable()) return;
    in_thread([this, id] {
      const auto found = listeners_.find(id);
      if (found == listeners_.end()) return;
      for (auto& c : connections_)
        if (c.owner == found->second.get()) drop(c);
      for (auto& [client, s] : found->second->sessions) retire(std::move(s));
      sessions_ -= found->second->sessions.size();
      found->second->fd.reset();
      graveyard_.push_back(std::move(found->second));
      listeners_.erase(found);
    });
  }

 private:
  /// What an epoll event points to. Freed only after the batch of events in which it ended.
  struct source {
    virtual ~source() = default;
    unique_fd fd;
  };
  struct listener;
  struct session : source {
    listener* owner = nullptr;
    sockaddr_storage client{};
    socklen_t client_size = 0;
    std::chrono::steady_clock::time_point used;
  };
  struct listener : source {
    bool datagrams = false;
    ip4 target = 0;
    uint16_t port = 0;
    std::map<std::string, std::unique_ptr<session>> sessions;  ///< by the client's address
  };
  struct connection;
  struct end : source {
    connection* owner = nullptr;
    std::string pending;  ///< read from the other end, not yet written here
    bool connecting = false, at_eof = false, shut = false, watched = true;
    uint32_t interest = 0;
  };
  struct connection {
    listener* owner = nullptr;
    std::array<end, 2> ends;
    bool dropped = false;
  };

  void start() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  /// Runs `work` on the loop's thread and waits for it.
  void in_thread(const std::function<void()>& work) {
    std::unique_lock guard(lock_);
    bool done = false;
    work_.push_back([&] {
      work();
      done = true;
    });
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    finished_.wait(guard, [&] { return done; });
  }

  void do_work() {
    uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    const std::lock_guard guard(lock_);
    for (; !work_.empty(); work_.pop_front()) work_.front()();
    finished_.notify_all();
  }

  void watch(source& s, uint32_t events, int operation) {
    epoll_event e{};
    e.events = events;
    e.data.ptr = &s;
    (void)::epoll_ctl(epoll_.get(), operation, s.fd.get(), &e);
  }

  void run() {
    epoll_event e{};
    e.events = EPOLLIN;
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &e);
    std::array<epoll_event, 64> ready;
    auto swept = std::chrono::steady_clock::now();
    while (!ended_) {
      const int timeout = paused_ ? accept_pause_ms : sessions_ != 0 ? session_sweep_ms : -1;
      const int count = ::epoll_wait(epoll_.get(), ready.data(), ready.size(), timeout);
      if (paused_) resume();
      for (int i = 0; i < count; ++i) {
        auto* s = static_cast<source*>(ready[i].data.ptr);
        if (s == nullptr)
          do_work();
        else if (s->fd)
          handle(*s, ready[i].events);
      }
      const auto now = std::chrono::steady_clock::now();
      if (sessions_ != 0 && now - swept > std::chrono::milliseconds(session_sweep_ms)) {
        sweep(now);
        swept = now;
      }
      connections_.remove_if([](const connection& c) { return c.dropped; });
      graveyard_.clear();
    }
  }

  void handle(source& s, uint32_t events) {
    if (auto* l = dynamic_cast<listener*>(&s)) {
      if (l->datagrams)
        datagrams_from_clients(*l);
      else
        accept_from(*l);
    } else if (auto* flow = dynamic_cast<session*>(&s)) {
      datagrams_from_container(*flow);
    } else if (auto* e = dynamic_cast<end*>(&s)) {
      stream_event(*e, events);
    }
  }

  // ---- streams
  void accept_from(listener& l) {
    for (int i = 0; i < 16; ++i) {
      unique_fd client(::accept4(l.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause();
        return;
      }
      if (connections_.size() >= limits_.connections) continue;
      bool connecting = false;
      auto container = socket_towards(SOCK_STREAM, l.target, l.port, connecting);
      if (!container) continue;
      const int on = 1;
      for (int fd : {client.get(), container.get()}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto& c = connections_.emplace_back();
      c.owner = &l;
      c.ends[0].fd = std::move(client);
      c.ends[1].fd = std::move(container);
      c.ends[1].connecting = connecting;
      for (auto& e : c.ends) {
        e.owner = &c;
        e.interest = wanted(e);
        watch(e, e.interest, EPOLL_CTL_ADD);
      }
    }
  }

  static end& other(end& e) { return e.owner->ends[&e == &e.owner->ends[0] ? 1 : 0]; }

  static uint32_t wanted(end& e) {
    const auto& peer = other(e);
    uint32_t events = 0;
    if (!e.connecting && !e.at_eof && !peer.connecting && peer.pending.empty()) events |= EPOLLIN;
    if (e.connecting || !e.pending.empty()) events |= EPOLLOUT;
    return events;
  }

  void drop(connection& c) {
    c.dropped = true;
    for (auto& e : c.ends) e.fd.reset();
  }

  void stream_event(end& e, uint32_t events) {
    auto& c = *e.owner;
    if (e.connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
      int why = 0;
      socklen_t size = sizeof why;
      getsockopt(e.fd.get(), SOL_SOCKET, SO_ERROR, &why, &size);
      if (why != 0) {
        // The client is to see a reset, as it would from a port where nobody listens.
        const linger at_once{1, 0};
        setsockopt(other(e).fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        drop(c);
        return;
      }
      e.connecting = false;
    }
    if ((events & EPOLLERR) != 0) {  // reset
      drop(c);
      return;
    }
    const bool gone = (events & EPOLLHUP) != 0;
    if ((events & EPOLLIN) != 0 || gone) read_from(e, gone);
    if (!c.dropped && !e.pending.empty()) flush(e);
    if (c.dropped) return;
    if (gone) {
      (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, e.fd.get(), nullptr);
      e.watched = false;
      e.at_eof = e.shut = true;
      e.pending.clear();
    }
    settle(c);
  }

  /// Reads what there is, at most four buffers, unless the other side has gone: then everything, for the last time.
  void read_from(end& e, bool everything) {
    auto& peer = other(e);
    for (int i = 0; everything || i < 4; ++i) {
      if (e.at_eof || e.connecting || (!everything && !peer.pending.empty())) return;
      const auto got = ::recv(e.fd.get(), buffer_.data(), buffer_.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) {
        if (everything)
          e.at_eof = true;
        else
          drop(*e.owner);
        return;
      }
      if (got == 0) {
        e.at_eof = true;
        return;
      }
      if (peer.shut) continue;  // nobody takes it
      peer.pending.append(buffer_.data(), static_cast<size_t>(got));
      if (!peer.connecting) flush(peer);
      if (e.owner->dropped) return;
    }
  }

  void flush(end& e) {
    while (!e.pending.empty()) {
      const auto sent = ::send(e.fd.get(), e.pending.data(), e.pending.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && errno == EAGAIN) return;
      if (sent < 0) {
        drop(*e.owner);
        return;
      }
      e.pending.erase(0, static_cast<size_t>(sent));
    }
    e.pending.shrink_to_fit();
  }

  void settle(connection& c) {
    for (auto& e : c.ends) {
      if (!other(e).at_eof || e.shut || e.connecting || !e.pending.empty()) continue;
      ::shutdown(e.fd.get(), SHUT_WR);
      e.shut = true;
    }
    if (c.ends[0].at_eof && c.ends[1].at_eof && c.ends[0].shut && c.ends[1].shut) {
      drop(c);
      return;
    }
    for (auto& e : c.ends) {
      const auto now = wanted(e);
      if (!e.watched || now == e.interest) continue;
      e.interest = now;
      watch(e, now, EPOLL_CTL_MOD);
    }
  }

  void pause() {
    paused_ = true;
    for (auto& [id, l] : listeners_)
      if (!l->datagrams) watch(*l, 0, EPOLL_CTL_MOD);
  }
  void resume() {
    paused_ = false;
    for (auto& [id, l] : listeners_) watch(*l, EPOLLIN, EPOLL_CTL_MOD);
  }

  // ---- datagrams
  void datagrams_from_clients(listener& l) {
    for (int i = 0; i < 64; ++i) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      const auto got =
          ::recvfrom(l.fd.get(), buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return;
      auto* s = session_of(l, from, size);
      if (s == nullptr) continue;
      s->used = std::chrono::steady_clock::now();
      (void)::send(s->fd.get(), buffer_.data(), static_cast<size_t>(got), MSG_NOSIGNAL);
    }
  }

  session* session_of(listener& l, const sockaddr_storage& from, socklen_t size) {
    const std::string key(reinterpret_cast<const char*>(&from), size);
    if (const auto found = l.sessions.find(key); found != l.sessions.end()) return found->second.get();
    if (sessions_ >= limits_.sessions) return nullptr;
    bool connecting = false;
    auto s = std::make_unique<session>();
    s->fd = socket_towards(SOCK_DGRAM, l.target, l.port, connecting);
    if (!s->fd) return nullptr;
    s->owner = &l;
    s->client = from;
    s->client_size = size;
    watch(*s, EPOLLIN, EPOLL_CTL_ADD);
    ++sessions_;
    return (l.sessions[key] = std::move(s)).get();
  }

  void datagrams_from_container(session& s) {
    for (int i = 0; i < 64; ++i) {
      const auto got = ::recv(s.fd.get(), buffer_.data(), buffer_.size(), 0);
      if (got < 0) {
        if (errno == ECONNREFUSED) continue;  // nobody listens in there yet
        return;
      }
      s.used = std::chrono::steady_clock::now();
      (void)::sendto(s.owner->fd.get(), buffer_.data(), static_cast<size_t>(got), MSG_NOSIGNAL,
                     reinterpret_cast<const sockaddr*>(&s.client), s.client_size);
    }
  }

  void retire(std::unique_ptr<session> s) {
    s->fd.reset();
    graveyard_.push_back(std::move(s));
  }

  void sweep(std::chrono::steady_clock::time_point now) {
    for (auto& [id, l] : listeners_)
      for (auto at = l->sessions.begin(); at != l->sessions.end();) {
        if (now - at->second->used < std::chrono::seconds(limits_.session_seconds)) {
          ++at;
          continue;
        }
        retire(std::move(at->second));
        --sessions_;
        at = l->sessions.erase(at);
      }
  }

  const limits limits_;
  unique_fd epoll_, wake_;
  std::thread thread_;
  std::mutex lock_;
  std::condition_variable finished_;
  std::deque<std::function<void()>> work_;
  uint64_t last_id_ = 0;

  // Of the thread alone.
  bool ended_ = false, paused_ = false;
  std::map<uint64_t, std::unique_ptr<listener>> listeners_;
  std::list<connection> connections_;
  size_t sessions_ = 0;
  std::vector<std::unique_ptr<source>> graveyard_;
  std::vector<char> buffer_ = std::vector<char>(65536);
};

port_relay::port_relay() : port_relay(limits{}) {}
port_relay::port_relay(limits l) : loop_(std::make_unique<loop>(l)) {}
port_relay::~port_relay() = default;

result<uint64_t> port_relay::add(unique_fd socket, bool datagrams, ip4 target, uint16_t port) {
  return loop_->add(std::move(socket), datagrams, target, port);
}
void port_relay::remove(uint64_t id) {
  loop_->remove(id);
}

}  // namespace arca::net
