#include "persistence/base/failpoint.hpp"

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

namespace arca::failpoint {
namespace {
constexpr const char* variable = "ARCA_FAILPOINT";

struct state {
  std::mutex lock;
  std::optional<plan> wish;
};

state& current() {
  static state* const s = [] {
    auto* made = new state;  // never destroyed: threads pass steps until the very end
    if (const char* text = std::getenv(variable))
      if (auto parsed = plan::parse(text)) made->wish = std::move(*parsed);
    return made;
  }();
  return *s;
}
}  // namespace

result<plan> plan::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  uint64_t nth = 0;
  if (colon != std::string_view::npos && colon != 0) {
    const auto* end = text.data() + text.size();
    const auto [at, bad] = std::from_chars(text.data() + colon + 1, end, nth);
    if (bad == std::errc{} && at == end && nth != 0) return plan(std::string(text.substr(0, colon)), nth);
  }
  return fail(errc::invalid_argument, std::string(variable) + ": not STEP:N: " + std::string(text));
}

bool plan::due(std::string_view step) {
  if (left_ == 0 || (step_ != "any" && step_ != step)) return false;
  return --left_ == 0;
}

result<std::optional<std::string>> armed() {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::optional<std::string>();
  ARCA_TRY(good, plan::parse(text));
  static_cast<void>(good);
  return std::optional<std::string>(text);
}

void reached(std::string_view step) noexcept {
  auto& s = current();
  if (!s.wish) return;
  const std::lock_guard guard(s.lock);
  if (!s.wish->due(step)) return;
  // Nothing more may happen in any thread: the lock is kept until the signal arrives.
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace arca::failpoint
