#include "guest/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace arca::guest {
namespace {
using clock = std::chrono::steady_clock;

uint64_t pack(int fd, uint32_t serial) {
  return static_cast<uint64_t>(serial) << 32 | static_cast<uint32_t>(fd);
}
}  // namespace

loop::loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_) throw std::system_error(errno, std::generic_category(), "epoll");
  watch(wake_.get(), EPOLLIN, [this](uint32_t) { run_posted(); });
}

void loop::watch(int fd, uint32_t events, ready_handler handler) {
  epoll_event event{};
  event.events = events;
  const uint32_t serial = next_serial_++;
  event.data.u64 = pack(fd, serial);
  const bool known = watched_.contains(fd);
  watched_[fd] = {serial, std::make_shared<ready_handler>(std::move(handler))};
  epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

void loop::change(int fd, uint32_t events) {
  const auto found = watched_.find(fd);
  if (found == watched_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = pack(fd, found->second.serial);
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void loop::forget(int fd) {
  if (watched_.erase(fd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

loop::timer_id loop::after(std::chrono::milliseconds delay, task work) {
  const timer_id id = next_timer_++;
  timers_.emplace(clock::now() + delay, std::pair(id, std::move(work)));
  return id;
}

void loop::cancel(timer_id& timer) {
  if (timer == 0) return;
  const auto found = std::ranges::find_if(timers_, [&](const auto& entry) { return entry.second.first == timer; });
  if (found != timers_.end()) timers_.erase(found);
  timer = 0;
}

void loop::post(task work) {
  bool first = false;
  {
    const std::lock_guard lock(posted_guard_);
    first = posted_.empty();
    posted_.push_back(std::move(work));
  }
  if (first) eventfd_write(wake_.get(), 1);
}

void loop::run_posted() {
  eventfd_t count = 0;
  eventfd_read(wake_.get(), &count);
  std::vector<task> now;
  {
    const std::lock_guard lock(posted_guard_);
    now.swap(posted_);
  }
  for (auto& work : now) work();
}

int loop::run_timers() {
  while (running_ && !timers_.empty()) {
    const auto first = timers_.begin();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(first->first - clock::now()).count();
    if (left > 0) return static_cast<int>(std::min<int64_t>(left, 3'600'000));
    const auto work = std::move(first->second.second);
    timers_.erase(first);
    work();
  }
  return -1;
}

int loop::run() {
  std::array<epoll_event, 64> events;
  running_ = true;
  while (running_) {
    const int timeout = run_timers();
    if (!running_) break;
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    if (count < 0 && errno != EINTR) return 1;
    for (int i = 0; i < count && running_; ++i) {
      const auto& event = events[static_cast<size_t>(i)];
      const auto found = watched_.find(static_cast<int>(static_cast<uint32_t>(event.data.u64)));
      if (found == watched_.end() || found->second.serial != event.data.u64 >> 32) continue;
      const auto handler = found->second.handler;  // it may forget itself
      (*handler)(event.events);
    }
  }
  return status_;
}

void loop::stop(int status) {
  running_ = false;
  status_ = status;
}

}  // namespace arca::guest
