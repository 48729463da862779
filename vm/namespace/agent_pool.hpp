// Idle agents, ready for the next start. One thread refills the pool, shortly after the last start so that it does not
// take the processor from that start; it sleeps while the pool is full.
#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "vm/namespace/guest_process.hpp"

namespace arca::vm {

class agent_pool {
 public:
  /// Nothing is started before fill().
  agent_pool(std::string program, std::string machines_dir, int size);
  /// Ends the idle agents and removes their folders.
  ~agent_pool();
  agent_pool(const agent_pool&) = delete;
  agent_pool& operator=(const agent_pool&) = delete;

  void fill();
  /// A ready agent: from the pool, or a new one. Its folder stays among folders() until `taken`.
  result<guest_process> take(bool host_network, int deadline_ms);
  void taken(const std::string& dir);
  /// Folders of the idle agents and of those on their way.
  std::vector<std::string> folders() const;

 private:
  result<guest_process> spawn(bool host_network);
  void refill();

  const std::string program_, machines_dir_;
  const size_t size_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::deque<guest_process> idle_;
  std::vector<std::string> on_the_way_;
  std::chrono::steady_clock::time_point last_take_{};
  bool stop_ = false, wanted_ = false;
  std::thread thread_;
};

}  // namespace arca::vm
