// Failpoints: named durable steps at which tests end the process as kill -9 would. Off unless ARCA_FAILPOINT asks:
// STEP:N ends the process at the N-th passing of that step, any:N at the N-th passing of any step (docs/failpoints.md).
#pragma once
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::failpoint {

/// One wish: at which passing of which step.
class plan {
 public:
  /// Of "STEP:N"; N counts from 1.
  static result<plan> parse(std::string_view text);
  plan(std::string step, uint64_t nth) : step_(std::move(step)), left_(nth) {}

  /// Counts a passing; true for the one that is wanted, and only for that. One thread at a time.
  bool due(std::string_view step);

 private:
  std::string step_;
  uint64_t left_;
};

/// What ARCA_FAILPOINT says: nothing, the wish as text, or an error when it is none.
result<std::optional<std::string>> armed();

/// A step is passed. Names begin with "before-" where the step has not been done yet.
void reached(std::string_view step) noexcept;

}  // namespace arca::failpoint
