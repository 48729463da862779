// What an exec's child borrows until execve: the agent's memory and, of the thread that cloned it, its thread-local
// variables. So that thread stands still (system calls only) until the child is a program or has ended, which a
// container can delay for as long as it likes.
//
// It would be woken at execve only to say that the process runs, and a machine has mostly one processor: to and fro
// costs an emulated one more than the news. So it waits for `patience` first. The loop, which hears of the end anyway,
// meanwhile may take the launch over; then nothing is left to tell for the thread.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace arca::guest::native {

class loan {
 public:
  explicit loan(std::chrono::nanoseconds patience) : patience_(patience) {}
  loan(const loan&) = delete;
  loan& operator=(const loan&) = delete;

  // ---- the thread that cloned `child`
  /// Until the child has nothing borrowed any more. `channel`: the agent's end of a socket whose other end, `theirs`,
  /// the child loses at execve; it is closed here. Changes no thread-local variable.
  void wait(pid_t child, int channel, int theirs) noexcept;
  /// After that: the loop has taken the launch over.
  bool taken_over() const { return state_.load(std::memory_order_acquire) == taken; }

  // ---- the child
  /// All is set up, execve is next.
  void ready();

  // ---- the loop
  /// True, once: `child` has ended while the thread was patient. let_go() is due, when nothing is more urgent.
  bool take_over_ended(pid_t child);
  /// The thread need not be patient any longer.
  void let_go();

  /// How long the child took from the clone until ready(); 0 if it was not, or has memory of its own.
  std::chrono::nanoseconds set_up_time() const;

 private:
  enum state : uint32_t { cloning, patient, taken, over };

  std::chrono::nanoseconds patience_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::atomic<std::chrono::steady_clock::rep> ready_at_ = 0;
  std::atomic<uint32_t> state_ = cloning;
};

}  // namespace arca::guest::native
