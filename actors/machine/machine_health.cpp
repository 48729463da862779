// Whether the agent of a virtual machine answers. A hung guest, or a hypervisor that somebody stopped, has no end that
// could be watched, and a full socket is not a dead peer: it is asked, whenever nothing was heard of it for a while.
// (The agent of a namespace machine is a process of this host like any other.)
#include "actors/machine/machine.hpp"

namespace arca {
namespace {
using namespace std::chrono_literals;
constexpr auto ping_after = 5s;  ///< of silence
constexpr auto ping_limit = 5000ms;
}  // namespace

void machine::begin_pings() {
  heard();
  if (!box_->on_host_kernel() && !std::exchange(pinging_, true)) ping_if_silent();
}

void machine::heard() {
  heard_at_ = std::chrono::steady_clock::now();
}

void machine::ping_if_silent() {
  if (phase_ != phase::running) return;
  const auto again = [this](std::chrono::steady_clock::duration when) {
    machine_timer timer;
    timer.kind = machine_timer_kind::ping;
    delayed_send(this, when, std::move(timer));
  };
  const auto due = heard_at_ + ping_after, now = std::chrono::steady_clock::now();
  if (now < due) return again(due - now);
  if (paused_) return again(ping_after);
  await_callback<result<void>>(
      this, *ctx_.port,
      [box = box_](std::function<void(result<void>)> done) { box->agent().ping(ping_limit, std::move(done)); },
      [this, again](const result<void>& answer) {
        // Stopped, or gone on, since it was asked: the silence says nothing.
        if (!answer && (paused_ || heard_at_ + ping_limit > std::chrono::steady_clock::now())) return again(ping_after);
        if (answer) heard();
        tell_unresponsive(!answer);
        again(ping_after);
      });
}

void machine::answered(const error& result) {
  if (result.code() == errc::timeout) return tell_unresponsive(true);
  if (result.code() != errc::none) return;
  heard();
  tell_unresponsive(false);
}

void machine::tell_unresponsive(bool unresponsive) {
  if (std::exchange(unresponsive_, unresponsive) == unresponsive || phase_ != phase::running) return;
  machine_unresponsive report;
  report.container_id = id_;
  report.generation = generation_;
  report.unresponsive = unresponsive;
  send(observer_, std::move(report));
}

}  // namespace arca
