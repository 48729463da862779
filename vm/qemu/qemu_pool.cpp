#include "vm/qemu/qemu_pool.hpp"

#include <pthread.h>

#include <chrono>
#include <utility>

#include "persistence/base/log.hpp"
#include "vm/process.hpp"
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {
namespace {
using namespace std::chrono_literals;
constexpr auto quiet = 1s;           ///< after the last start, before the pool is refilled
constexpr auto after_failure = 60s;  ///< a machine that cannot boot is not tried in a loop
constexpr int boot_ms = 20'000;
}  // namespace

qemu_pool::qemu_pool(qemu_backend& backend, unsigned size, std::chrono::milliseconds idle_limit)
    : backend_(backend), size_(size), idle_limit_(idle_limit) {}

qemu_pool::~qemu_pool() {
  end();
}

void qemu_pool::end() {
  {
    const std::lock_guard guard(lock_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (auto& machine : std::exchange(idle_, {})) machine->destroy();
}

void qemu_pool::fill() {
  const std::lock_guard guard(lock_);
  if (size_ == 0 || stop_ || thread_.joinable()) return;
  last_use_ = std::chrono::steady_clock::now();
  thread_ = std::thread([this] { refill(); });
}

std::unique_ptr<qemu_machine> qemu_pool::take(const std::string& guest_version) {
  for (;;) {
    std::unique_ptr<qemu_machine> next;
    {
      const std::lock_guard guard(lock_);
      last_take_ = last_use_ = std::chrono::steady_clock::now();
      if (!idle_.empty()) {
        next = std::move(idle_.front());
        idle_.pop_front();
      }
    }
    changed_.notify_all();
    if (!next) return nullptr;
    if (!has_ended(next->exit_fd()) && next->guest_version() == guest_version) return next;
    next->destroy();
  }
}

size_t qemu_pool::idle() const {
  const std::lock_guard guard(lock_);
  return idle_.size();
}

bool qemu_pool::given_up(std::unique_lock<std::mutex>& guard) {
  if (idle_limit_ == 0ms || std::chrono::steady_clock::now() < last_use_ + idle_limit_) return false;
  auto old = std::exchange(idle_, {});
  guard.unlock();
  for (auto& machine : old) machine->destroy();
  old.clear();
  guard.lock();
  return true;
}

void qemu_pool::refill() {
  pthread_setname_np(pthread_self(), "vm-pool");
  std::unique_lock guard(lock_);
  while (!stop_) {
    if (given_up(guard)) {
      changed_.wait(guard, [this] { return stop_ || std::chrono::steady_clock::now() < last_use_ + idle_limit_; });
      continue;
    }
    if (idle_.size() >= size_) {
      if (idle_limit_ == 0ms)
        changed_.wait(guard);
      else
        changed_.wait_until(guard, last_use_ + idle_limit_);
      continue;
    }
    if (const auto due = last_take_ + quiet; std::chrono::steady_clock::now() < due) {
      changed_.wait_until(guard, due);
      continue;
    }
    guard.unlock();
    auto next = backend_.make_idle();
    auto ready = next ? (*next)->boot_idle(boot_ms) : result<void>(fail(next.error()));
    if (next && !ready) (*next)->destroy();
    guard.lock();
    if (ready) {
      idle_.push_back(std::move(*next));
    } else if (!stop_) {
      log::warn("no idle virtual machine could be made", log::kv("reason", ready.error().message()));
      changed_.wait_for(guard, after_failure, [this] { return stop_; });
    }
  }
}

}  // namespace arca::vm
