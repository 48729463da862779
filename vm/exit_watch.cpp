#include "vm/exit_watch.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>

namespace arca::vm {

exit_watch::exit_watch() : epoll_(epoll_create1(EPOLL_CLOEXEC)), stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = stop_.get();
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event);
  thread_ = std::thread([this] { run(); });
}

exit_watch::~exit_watch() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void exit_watch::once(int pidfd, std::function<void()> ended) {
  unique_fd own(fcntl(pidfd, F_DUPFD_CLOEXEC, 3));
  if (!own) return ended();  // no descriptor left: the caller then looks for itself
  const int fd = own.get();
  const std::lock_guard guard(lock_);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.fd = fd;
  watched_[fd] = {std::move(own), std::move(ended)};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void exit_watch::run() {
  pthread_setname_np(pthread_self(), "exit-watch");
  for (;;) {
    epoll_event events[16];
    const int n = epoll_wait(epoll_.get(), events, 16, -1);
    if (n < 0 && errno != EINTR) return;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.fd == stop_.get()) return;
      std::function<void()> ended;
      {
        const std::lock_guard guard(lock_);
        const auto found = watched_.find(events[i].data.fd);
        if (found == watched_.end()) continue;
        ended = std::move(found->second.second);
        watched_.erase(found);  // closing takes it out of the epoll set
      }
      ended();
    }
  }
}

}  // namespace arca::vm
