// Where the time of a container's start in a virtual machine goes: waiting for QEMU and for the agent, and the rest,
// which is the engine's own. Calls overlap (a NIC is plugged beside the shares); the engine's share is what no call
// covers. Thread-safe.
#pragma once
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

namespace arca::vm {

/// A line of the account: a call, or "engine" for a gap between calls. Milliseconds; `at` is since the start was asked
/// for.
struct start_step {
  std::string what;
  double at = 0, ms = 0;
};

class start_account {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr const char* engine = "engine";

  explicit start_account(clock::time_point asked = clock::now()) : asked_(asked) {}

  /// The start begins now (a machine of the pool has been through calls of its own): what was noted before is dropped.
  void begin(clock::time_point asked);
  /// Something was waited for. Nothing is noted after close(), and no more than a start can need.
  void waited(std::string what, clock::time_point from, clock::time_point to);
  /// The container runs.
  void close();

  /// Calls in the order in which they began and the engine's gaps between them, up to the end of the last call.
  std::vector<start_step> steps() const;

 private:
  struct call {
    std::string what;
    clock::time_point from, to;
  };
  static constexpr size_t most_calls = 200;
  mutable std::mutex lock_;
  clock::time_point asked_;
  std::vector<call> calls_;
  bool closed_ = false;
};

/// Sum of the engine's own steps, milliseconds.
double engine_share(const std::vector<start_step>& steps);
/// From when the start was asked for to the end of the last step, milliseconds.
double whole_start(const std::vector<start_step>& steps);

/// A wait for the length of a scope. `into` may be null.
class waiting {
 public:
  waiting(start_account* into, const char* what) : into_(into), what_(what) {}
  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;
  ~waiting() {
    if (into_ != nullptr) into_->waited(what_, from_, start_account::clock::now());
  }

 private:
  start_account* into_;
  std::string what_;
  start_account::clock::time_point from_ = start_account::clock::now();
};

}  // namespace arca::vm
