#include "vm/qemu/log_limits.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <future>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {
constexpr auto quiet = std::chrono::seconds(1);
}

void cut_log(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!file || fstat(file.get(), &info) != 0 || info.st_size <= log_limits::limit) return;
  std::string tail(static_cast<size_t>(log_limits::kept), '\0');
  const auto n = pread(file.get(), tail.data(), tail.size(), info.st_size - log_limits::kept);
  tail.resize(n > 0 ? static_cast<size_t>(n) : 0);
  if (ftruncate(file.get(), 0) == 0) (void)fs::write_all(file.get(), tail);
}

/// Touched on the loop's thread only.
struct log_limits::state : std::enable_shared_from_this<log_limits::state> {
  guest::loop& loop;
  unique_fd inotify{inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  std::map<std::string, int> watched;
  guest::loop::timer_id timer = 0;

  explicit state(guest::loop& l) : loop(l) {}

  void listen() {
    loop.watch(inotify.get(), EPOLLIN, [self = shared_from_this()](uint32_t) { self->written(); });
  }
  /// Not heard again for a second: a guest that floods its console costs one look then.
  void written() {
    loop.forget(inotify.get());
    timer = loop.after(quiet, [self = shared_from_this()] {
      self->timer = 0;
      char events[4096];
      while (::read(self->inotify.get(), events, sizeof events) > 0) {
      }
      for (const auto& [path, watch] : self->watched) cut_log(path);
      self->listen();
    });
  }
  void remove_below(const std::string& dir) {
    for (auto at = watched.begin(); at != watched.end();) {
      if (starts_with(at->first, dir + '/')) {
        inotify_rm_watch(inotify.get(), at->second);
        at = watched.erase(at);
      } else {
        ++at;
      }
    }
  }
  void close() {
    loop.cancel(timer);
    loop.forget(inotify.get());
    inotify.reset();
  }
};

log_limits::log_limits(qmp_loop& loop) : loop_(loop), state_(std::make_shared<state>(loop.get())) {
  loop_.get().post([s = state_] {
    if (s->inotify) s->listen();
  });
}

log_limits::~log_limits() {
  std::promise<void> closed;
  loop_.get().post([&closed, s = state_] {
    s->close();
    closed.set_value();
  });
  closed.get_future().wait();
}

void log_limits::add(const std::string& path) {
  loop_.get().post([s = state_, path] {
    const int watch = inotify_add_watch(s->inotify.get(), path.c_str(), IN_MODIFY);
    if (watch >= 0) s->watched[path] = watch;
    cut_log(path);  // what was written before is no event
  });
}

void log_limits::remove_below(const std::string& dir) {
  loop_.get().post([s = state_, dir] { s->remove_below(dir); });
}

}  // namespace arca::vm
