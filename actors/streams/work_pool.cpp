#include "actors/streams/work_pool.hpp"

#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

namespace arca {

struct work_pool::state {
  std::mutex lock;
  std::condition_variable changed, ended;
  std::deque<std::function<void()>> ready;
  std::multimap<clock::time_point, std::function<void()>> later;
  size_t limit = 1, threads = 0, idle = 0;
  bool stopping = false;

  void run() {
    std::unique_lock guard(lock);
    const auto idle_limit = std::chrono::seconds(10);
    auto idle_until = clock::now() + idle_limit;
    while (!stopping) {
      const auto now = clock::now();
      while (!later.empty() && later.begin()->first <= now) {
        ready.push_back(std::move(later.begin()->second));
        later.erase(later.begin());
      }
      if (!ready.empty()) {
        auto work = std::move(ready.front());
        ready.pop_front();
        guard.unlock();
        work();
        work = nullptr;
        guard.lock();
        idle_until = clock::now() + idle_limit;
        continue;
      }
      // The last thread stays while something waits for its time.
      const bool keeps_time = !later.empty() && idle == 0;
      if (!keeps_time && now >= idle_until) break;
      ++idle;
      changed.wait_until(guard, keeps_time ? later.begin()->first : idle_until);
      --idle;
    }
    --threads;
    ended.notify_all();
  }
};

work_pool::work_pool(size_t limit) : state_(std::make_shared<state>()) {
  state_->limit = limit;
}

work_pool::~work_pool() {
  stop();
}

void work_pool::stop() {
  std::deque<std::function<void()>> dropped;
  std::multimap<clock::time_point, std::function<void()>> later;
  {
    std::unique_lock guard(state_->lock);
    state_->stopping = true;
    dropped.swap(state_->ready);
    later.swap(state_->later);
    state_->changed.notify_all();
    state_->ended.wait(guard, [this] { return state_->threads == 0; });
  }
}

void work_pool::post(std::function<void()> work) {
  post_at(clock::time_point::min(), std::move(work));
}

void work_pool::post_at(clock::time_point when, std::function<void()> work) {
  const std::lock_guard guard(state_->lock);
  if (state_->stopping) return;
  const bool now = when == clock::time_point::min();
  if (now)
    state_->ready.push_back(std::move(work));
  else
    state_->later.emplace(when, std::move(work));
  const bool wanted = now ? state_->ready.size() > state_->idle : state_->threads == 0;
  if (wanted && state_->threads < state_->limit) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ++state_->threads;
    std::thread([s = state_] {
      pthread_setname_np(pthread_self(), "arca-logs");
      s->run();
    }).detach();
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }
  state_->changed.notify_all();  // the one that keeps the time may not be the first to wake
}

}  // namespace arca
