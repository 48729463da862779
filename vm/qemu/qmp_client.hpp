// QMP, the machine protocol of QEMU, over one connected unix socket: a line of JSON each way. All clients of a backend
// share one thread (qmp_loop) that reads, so that a hundred machines cost one thread and no wake-ups while idle.
//
// QEMU is inside the guest's blast radius: a line has at most 256 KiB, at most 2,000 messages come in a second, replies
// to nothing are dropped; past a bound the connection is closed and every call answers errc::unavailable.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "guest/loop.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/start_account.hpp"

namespace arca::vm {

/// The thread that serves all QMP connections and log limits of one backend. Outlives its clients.
class qmp_loop {
 public:
  qmp_loop();
  ~qmp_loop();
  qmp_loop(const qmp_loop&) = delete;
  qmp_loop& operator=(const qmp_loop&) = delete;
  guest::loop& get() { return loop_; }

 private:
  guest::loop loop_;
  std::thread thread_;
};

class qmp_client {
 public:
  using milliseconds = std::chrono::milliseconds;
  using json = nlohmann::json;
  static constexpr size_t max_line = 256u << 10, max_unsent = 256u << 10, max_open = 64;
  static constexpr int max_messages_per_second = 2000;

  /// `on_event(name, data)` runs on the loop's thread and must be quick. Sends qmp_capabilities by itself. Calls are
  /// noted in `account`, if there is one.
  static std::unique_ptr<qmp_client> over(qmp_loop& loop, unique_fd socket,
                                          std::function<void(const std::string&, const json&)> on_event,
                                          std::shared_ptr<start_account> account = {});
  /// Open calls answer errc::unavailable; no event after it.
  ~qmp_client();
  qmp_client(const qmp_client&) = delete;
  qmp_client& operator=(const qmp_client&) = delete;

  /// Until the greeting has come and capabilities are negotiated: the time QEMU takes to start.
  result<void> wait_ready(milliseconds limit);

  /// One command; the value of "return". QEMU's own error text: errc::internal, errc::not_found when it knows no such
  /// device; a late answer is dropped.
  /// `descriptor` (≥ 0) goes along as SCM_RIGHTS, for getfd. Not on the loop's thread.
  result<json> call(const std::string& command, json arguments, milliseconds limit, int descriptor = -1);
  /// call() and then wait for the event about device `id`: device_del is only a request.
  result<void> call_until(const std::string& command, json arguments, const std::string& event, const std::string& id,
                          milliseconds limit);

 private:
  struct state;
  explicit qmp_client(std::shared_ptr<state> s) : state_(std::move(s)) {}
  std::shared_ptr<state> state_;
  std::shared_ptr<start_account> account_;
};

}  // namespace arca::vm
