#include "vm/qemu/qmp_client.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <future>
#include <map>

#include "persistence/base/text.hpp"

namespace arca::vm {

qmp_loop::qmp_loop()
    : thread_([this] {
        pthread_setname_np(pthread_self(), "qmp");
        loop_.run();
      }) {}

qmp_loop::~qmp_loop() {
  loop_.post([this] { loop_.stop(0); });
  thread_.join();
}

namespace {

using clock = std::chrono::steady_clock;
using json = nlohmann::json;

template <class T>
using answer = std::function<void(result<T>)>;

/// An answer that fulfils a promise, and the future of it.
template <class T>
std::pair<answer<T>, std::future<result<T>>> promised() {
  auto promise = std::make_shared<std::promise<result<T>>>();
  auto future = promise->get_future();
  return {[promise](result<T> value) { promise->set_value(std::move(value)); }, std::move(future)};
}

}  // namespace

/// Touched on the loop's thread only. Each answer is called once: what holds it lets it go first.
struct qmp_client::state : std::enable_shared_from_this<qmp_client::state> {
  guest::loop& loop;
  unique_fd socket;
  std::function<void(const std::string&, const json&)> on_event;
  error closed;  ///< why, when it is
  bool greeted = false, ready = false;

  struct command {
    answer<json> reply;
    guest::loop::timer_id timer = 0;
  };
  struct awaited {
    std::string event, device;
    answer<void> seen;
    guest::loop::timer_id timer = 0;
  };
  struct outgoing {
    std::string bytes;
    size_t sent = 0;
    unique_fd descriptor;
  };
  std::string id_prefix = random_hex(4) + '-';  // an answer to a daemon before us is not ours
  uint64_t next_id = 1;
  std::map<std::string, command> open;
  std::map<uint64_t, awaited> waiting;
  std::vector<awaited> until_ready;
  std::deque<outgoing> unsent;
  size_t unsent_bytes = 0;
  std::string input;
  clock::time_point second{};
  int in_this_second = 0;

  state(guest::loop& l, unique_fd s) : loop(l), socket(std::move(s)) {}

  void close(error why) {
    if (!socket) return;
    loop.forget(socket.get());
    socket.reset();
    closed = std::move(why);
    unsent.clear();
    unsent_bytes = 0;
    input.clear();
    auto commands = std::exchange(open, {});
    auto events = std::exchange(waiting, {});
    for (auto& one : std::exchange(until_ready, {})) events[next_id++] = std::move(one);
    for (auto& [id, one] : commands) {
      loop.cancel(one.timer);
      one.reply(fail(closed));
    }
    for (auto& [id, one] : events) {
      loop.cancel(one.timer);
      one.seen(fail(closed));
    }
    on_event = nullptr;
  }

  void watch() {
    loop.watch(socket.get(), EPOLLIN, [self = shared_from_this()](uint32_t events) {
      if ((events & EPOLLOUT) != 0) self->write();
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) self->read();
    });
  }

  void read() {
    if (!socket) return;
    char buffer[16 << 10];
    const ssize_t n = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return close({errc::unavailable, "QEMU has closed its control connection"});
    input.append(buffer, static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end; socket && (end = input.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = input.substr(begin, end - begin);
      if (!line.empty() && line != "\r") take(line);
      if (!socket) return;
    }
    if (!socket) return;
    input.erase(0, begin);
    if (input.size() > max_line) close({errc::unavailable, "QEMU sent a line of more than 256 KiB"});
  }

  void take(const std::string& line) {
    const auto now = clock::now();
    if (now - second >= std::chrono::seconds(1)) {
      second = now;
      in_this_second = 0;
    }
    if (++in_this_second > max_messages_per_second)
      return close({errc::unavailable, "QEMU floods its control connection"});
    if (line.size() > max_line) return close({errc::unavailable, "QEMU sent a line of more than 256 KiB"});
    auto message = json::parse(line, nullptr, false);
    if (!message.is_object()) return close({errc::unavailable, "QEMU sent something that is no JSON object"});
    if (const auto name = message.find("event"); name != message.end() && name->is_string())
      return take_event(name->get<std::string>(), message.contains("data") ? message["data"] : json::object());
    if (message.contains("QMP")) {
      if (greeted) return;
      greeted = true;
      return send(
          "qmp_capabilities", json::object(), {},
          [self = shared_from_this()](const result<json>& done) { self->negotiated(done); }, std::chrono::seconds(10));
    }
    const auto id = message.find("id");
    if (id == message.end() || !id->is_string()) return;
    const auto found = open.find(id->get<std::string>());
    if (found == open.end()) return;  // late, or of nobody
    auto one = std::move(found->second);
    open.erase(found);
    loop.cancel(one.timer);
    if (const auto value = message.find("return"); value != message.end()) return one.reply(std::move(*value));
    std::string text = "QEMU gave no reason";
    auto code = errc::internal;
    if (const auto problem = message.find("error"); problem != message.end() && problem->is_object()) {
      if (const auto words = problem->find("desc"); words != problem->end() && words->is_string())
        text = words->get<std::string>().substr(0, 1000);
      if (const auto kind = problem->find("class"); kind != problem->end() && *kind == "DeviceNotFound")
        code = errc::not_found;
    }
    one.reply(fail(code, text));
  }

  void take_event(const std::string& name, const json& data) {
    std::string device;
    if (data.is_object())
      if (const auto at = data.find("device"); at != data.end() && at->is_string()) device = at->get<std::string>();
    for (auto at = waiting.begin(); at != waiting.end();) {
      if (at->second.event == name && at->second.device == device) {
        loop.cancel(at->second.timer);
        const auto seen = std::move(at->second.seen);
        at = waiting.erase(at);
        seen({});
      } else {
        ++at;
      }
    }
    if (on_event) on_event(name, data);
  }

  void negotiated(const result<json>& done) {
    if (!done) return close(done.error());
    ready = true;
    for (auto& one : std::exchange(until_ready, {})) {
      loop.cancel(one.timer);
      one.seen({});
    }
  }

  void wait_ready(answer<void> done, milliseconds limit) {
    if (!socket) return done(fail(closed));
    if (ready) return done({});
    awaited one;
    one.seen = std::move(done);
    one.timer = loop.after(limit, [self = shared_from_this()] {
      self->close({errc::timeout, "QEMU did not answer on its control connection in time"});
    });
    until_ready.push_back(std::move(one));
  }

  void wait_event(const std::string& event, const std::string& device, answer<void> done, milliseconds limit) {
    if (!socket) return done(fail(closed));
    const auto id = next_id++;
    awaited one{event, device, std::move(done)};
    one.timer = loop.after(limit, [self = shared_from_this(), id, event] {
      const auto found = self->waiting.find(id);
      if (found == self->waiting.end()) return;
      const auto seen = std::move(found->second.seen);
      self->waiting.erase(found);
      seen(fail(errc::timeout, "QEMU did not report " + event + " in time"));
    });
    waiting[id] = std::move(one);
  }

  void send(const std::string& name, json arguments, unique_fd descriptor, answer<json> reply, milliseconds limit) {
    if (!socket) return reply(fail(closed));
    const auto id = id_prefix + std::to_string(next_id++);
    json message = {{"execute", name}, {"id", id}};
    if (!arguments.empty()) message["arguments"] = std::move(arguments);
    outgoing next;
    next.bytes = message.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
    next.descriptor = std::move(descriptor);
    if (open.size() >= max_open || unsent_bytes + next.bytes.size() > max_unsent)
      return reply(fail(errc::unavailable, "QEMU does not read its control connection"));
    command one;
    one.reply = std::move(reply);
    one.timer = loop.after(limit, [self = shared_from_this(), id] {
      const auto found = self->open.find(id);
      if (found == self->open.end()) return;
      auto late = std::move(found->second);
      self->open.erase(found);
      late.reply(fail(errc::timeout, "QEMU does not answer"));
    });
    open[id] = std::move(one);
    unsent_bytes += next.bytes.size();
    unsent.push_back(std::move(next));
    write();
  }

  void write() {
    while (socket && !unsent.empty()) {
      auto& next = unsent.front();
      iovec bytes{next.bytes.data() + next.sent, next.bytes.size() - next.sent};
      msghdr message{};
      message.msg_iov = &bytes;
      message.msg_iovlen = 1;
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      if (next.descriptor && next.sent == 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        const int fd = next.descriptor.get();
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
      }
      const ssize_t n = sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return loop.change(socket.get(), EPOLLIN | EPOLLOUT);
      if (n < 0) return close({errc::unavailable, "QEMU has closed its control connection"});
      next.sent += static_cast<size_t>(n);
      unsent_bytes -= static_cast<size_t>(n);
      if (next.sent == next.bytes.size()) unsent.pop_front();
    }
    if (socket) loop.change(socket.get(), EPOLLIN);
  }
};

std::unique_ptr<qmp_client> qmp_client::over(qmp_loop& loop, unique_fd socket,
                                             std::function<void(const std::string&, const json&)> on_event,
                                             std::shared_ptr<start_account> account) {
  auto s = std::make_shared<state>(loop.get(), std::move(socket));
  s->on_event = std::move(on_event);
  s->loop.post([s] { s->watch(); });
  std::unique_ptr<qmp_client> made(new qmp_client(std::move(s)));
  made->account_ = std::move(account);
  return made;
}

qmp_client::~qmp_client() {
  auto [done, ended] = promised<void>();
  state_->loop.post([s = state_, done = std::move(done)] {
    s->close({errc::unavailable, "the control connection to QEMU was closed"});
    done({});
  });
  ended.wait();
}

result<void> qmp_client::wait_ready(milliseconds limit) {
  auto [done, answered] = promised<void>();
  state_->loop.post([s = state_, done = std::move(done), limit]() mutable { s->wait_ready(std::move(done), limit); });
  return answered.get();
}

result<json> qmp_client::call(const std::string& command, json arguments, milliseconds limit, int descriptor) {
  unique_fd copy;
  if (descriptor >= 0) {
    copy.reset(fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno("duplicate a descriptor");
  }
  auto [done, answered] = promised<json>();
  state_->loop.post([s = state_, command, arguments = std::move(arguments),
                     fd = std::make_shared<unique_fd>(std::move(copy)), done = std::move(done), limit]() mutable {
    s->send(command, std::move(arguments), std::move(*fd), std::move(done), limit);
  });
  const waiting noted(account_.get(), command.c_str());
  auto reply = answered.get();
  if (!reply) return fail(reply.error().wrap("QEMU, " + command));
  return reply;
}

result<void> qmp_client::call_until(const std::string& command, json arguments, const std::string& event,
                                    const std::string& id, milliseconds limit) {
  auto [seen, happened] = promised<void>();
  state_->loop.post([s = state_, event, id, seen = std::move(seen), limit]() mutable {
    s->wait_event(event, id, std::move(seen), limit);
  });
  ARCA_TRY(asked, call(command, std::move(arguments), limit));
  (void)asked;
  return happened.get();
}

}  // namespace arca::vm
