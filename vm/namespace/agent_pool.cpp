#include "vm/namespace/agent_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {
using namespace std::chrono_literals;
constexpr auto quiet = 40ms;        ///< after the last start, before the pool is refilled
constexpr auto after_failure = 5s;  ///< an agent that cannot start is not tried in a loop
constexpr int ready_ms = 10'000;

void end_idle(guest_process& agent) {
  agent.pool_socket.reset();
  if (!wait_for_end(agent.pidfd.get(), 2000)) {
    send_signal(agent.pidfd.get(), SIGKILL);
    wait_for_end(agent.pidfd.get(), 2000);
  }
  (void)fs::remove_tree(agent.dir);
}
}  // namespace

agent_pool::agent_pool(std::string program, std::string machines_dir, int size)
    : program_(std::move(program)),
      machines_dir_(std::move(machines_dir)),
      size_(static_cast<size_t>(std::max(0, size))) {}

agent_pool::~agent_pool() {
  {
    const std::lock_guard guard(lock_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (auto& agent : idle_) agent.pool_socket.reset();  // all at once, then each is waited for
  for (auto& agent : idle_) end_idle(agent);
}

void agent_pool::fill() {
  const std::lock_guard guard(lock_);
  if (size_ == 0 || wanted_) return;
  wanted_ = true;
  thread_ = std::thread([this] { refill(); });
}

result<guest_process> agent_pool::spawn(bool host_network) {
  const auto dir = machines_dir_ + '/' + random_hex(6);
  {
    const std::lock_guard guard(lock_);
    on_the_way_.push_back(dir);
  }
  auto agent = spawn_agent(program_, dir, host_network);
  if (!agent) {
    const std::lock_guard guard(lock_);
    std::erase(on_the_way_, dir);
  }
  return agent;
}

result<guest_process> agent_pool::take(bool host_network, int deadline_ms) {
  {
    const std::lock_guard guard(lock_);
    last_take_ = std::chrono::steady_clock::now();
    while (!host_network && !idle_.empty()) {
      auto agent = std::move(idle_.front());
      idle_.pop_front();
      changed_.notify_all();
      if (!has_ended(agent.pidfd.get())) {
        on_the_way_.push_back(agent.dir);
        return agent;
      }
      (void)fs::remove_tree(agent.dir);
    }
  }
  ARCA_TRY(agent, spawn(host_network));
  if (auto ready = wait_until_ready(agent, deadline_ms); !ready) {
    end_idle(agent);
    const std::lock_guard guard(lock_);
    std::erase(on_the_way_, agent.dir);
    return fail(ready.error());
  }
  return std::move(agent);
}

void agent_pool::taken(const std::string& dir) {
  const std::lock_guard guard(lock_);
  std::erase(on_the_way_, dir);
}

std::vector<std::string> agent_pool::folders() const {
  const std::lock_guard guard(lock_);
  auto all = on_the_way_;
  for (const auto& agent : idle_) all.push_back(agent.dir);
  return all;
}

void agent_pool::refill() {
  pthread_setname_np(pthread_self(), "agent-pool");
  std::unique_lock guard(lock_);
  while (!stop_) {
    if (idle_.size() >= size_) {
      changed_.wait(guard);
      continue;
    }
    // While starts follow each other the pool waits; an empty pool does not help them anyway, they start their own.
    if (const auto due = last_take_ + quiet; std::chrono::steady_clock::now() < due) {
      changed_.wait_until(guard, due);
      continue;
    }
    guard.unlock();
    auto agent = spawn(false);
    auto ready = agent ? wait_until_ready(*agent, ready_ms) : result<void>(fail(agent.error()));
    if (agent && !ready) end_idle(*agent);
    guard.lock();
    if (agent) std::erase(on_the_way_, agent->dir);
    if (ready) {
      idle_.push_back(std::move(*agent));
    } else {
      log::warn("no idle agent could be made", log::kv("reason", ready.error().message()));
      changed_.wait_for(guard, after_failure, [this] { return stop_; });
    }
  }
}

}  // namespace arca::vm
