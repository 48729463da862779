#include "actors/streams/io_loop.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "persistence/base/log.hpp"

namespace arca {

namespace {
constexpr auto delay = std::chrono::milliseconds(50);

int left_ms(std::chrono::steady_clock::time_point due) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::max<int64_t>(0, left));
}
}  // namespace

io_loop::io_loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (!epoll_ || !wake_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
    log::error("stdio: no epoll, no process output will be read", log::kv("errno", errno));
  sigset_t all, old;  // signals belong to the main thread
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_setname_np(thread_.native_handle(), "arca-stdio");
}

io_loop::~io_loop() {
  stop();
}

void io_loop::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

bool io_loop::post(std::function<void()> task) {
  bool first = false;
  {
    const std::lock_guard guard(lock_);
    if (stopped_) return false;
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (first) {
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  }
  return true;
}

uint64_t io_loop::add(int fd, uint32_t events, std::shared_ptr<io_handler> handler) {
  const auto id = ++last_id_;
  entries_.emplace(id, entry{fd, 0, false, std::move(handler)});
  load_.store(entries_.size(), std::memory_order_relaxed);
  watch(id, events);
  return id;
}

void io_loop::watch(uint64_t id, uint32_t events) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.events == events) return;
  auto& e = found->second;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  // A descriptor with no wish is taken out: EPOLLHUP would be reported for ever otherwise.
  const int how = e.events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_.get(), how, e.fd, &event) != 0) log::error("stdio: epoll_ctl", log::kv("errno", errno));
  e.events = events;
}

void io_loop::remove(uint64_t id) {
  watch(id, 0);
  entries_.erase(id);
  load_.store(entries_.size(), std::memory_order_relaxed);
}

void io_loop::call_later(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.delayed) return;
  found->second.delayed = true;
  if (delayed_.empty()) delay_due_ = std::chrono::steady_clock::now() + delay;
  delayed_.push_back(id);
}

char* io_loop::buffer() {
  if (!buffer_) buffer_.reset(new char[buffer_size]);
  return buffer_.get();
}

void io_loop::run_posted() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard guard(lock_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void io_loop::run_delayed() {
  if (delayed_.empty() || std::chrono::steady_clock::now() < delay_due_) return;
  std::vector<uint64_t> due;
  due.swap(delayed_);
  for (const auto id : due) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) continue;
    found->second.delayed = false;
    const auto handler = found->second.handler;
    handler->on_delay();
  }
}

void io_loop::run() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int timeout = delayed_.empty() ? -1 : left_ms(delay_due_);
    const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    if (n < 0 && errno != EINTR) break;
    for (int i = 0; i < n; ++i) {
      const auto id = events[static_cast<size_t>(i)].data.u64;
      if (id == 0) {
        uint64_t count = 0;
        [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count);
        run_posted();
        continue;
      }
      const auto found = entries_.find(id);
      if (found == entries_.end()) continue;  // removed by a handler before it in this round
      const auto handler = found->second.handler;
      handler->on_ready(events[static_cast<size_t>(i)].events);
    }
    run_delayed();
    const std::lock_guard guard(lock_);
    if (stopping_ && posted_.empty()) break;
  }
  {
    const std::lock_guard guard(lock_);
    stopped_ = true;
  }
  run_posted();
  auto entries = std::move(entries_);
  for (auto& [id, e] : entries) e.handler->on_stop();
}

}  // namespace arca
