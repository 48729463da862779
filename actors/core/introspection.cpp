#include "actors/core/introspection.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <caf/message.hpp>
#include <caf/type_erased_tuple.hpp>
#include <cstdlib>

namespace arca {
namespace {
std::string type_name(const std::type_info* type) {
  if (type == nullptr) return {};
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  std::string name = status == 0 ? text.get() : type->name();
  const auto at = name.rfind("::");
  return at == std::string::npos ? name : name.substr(at + 2);
}
}  // namespace

int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void note_message(actor_stats& stats, const caf::type_erased_tuple& content) {
  if (content.empty()) return;
  const auto type = content.type(0);  // type_info is null for CAF's own types
  stats.message.store(type.second != nullptr ? type.second : &typeid(caf::message), std::memory_order_relaxed);
}

void introspection::add(std::shared_ptr<actor_stats> stats) {
  const std::lock_guard guard(lock_);
  const auto* key = stats.get();
  table_[key] = std::move(stats);
}

void introspection::remove(const actor_stats* stats) {
  const std::lock_guard guard(lock_);
  table_.erase(stats);
  if (table_.empty()) emptied_.notify_all();
}

bool introspection::await_empty(std::chrono::milliseconds patience) const {
  std::unique_lock guard(lock_);
  return emptied_.wait_for(guard, patience, [this] { return table_.empty(); });
}

void introspection::restarted(const std::string& path) {
  const std::lock_guard guard(lock_);
  ++restarts_[path];
}

std::vector<actor_row> introspection::snapshot() const {
  std::vector<actor_row> rows;
  const auto now = steady_ns();
  {
    const std::lock_guard guard(lock_);
    rows.reserve(table_.size());
    for (const auto& [key, s] : table_) {
      actor_row row;
      row.path = s->path;
      row.kind = s->kind;
      const auto handled = s->handled.load(std::memory_order_relaxed);
      const auto enqueued = s->enqueued.load(std::memory_order_relaxed);
      const auto since = s->since_ns.load(std::memory_order_relaxed);
      row.handled = handled;
      row.mailbox = enqueued > handled ? enqueued - handled : 0;
      row.state = since != 0 ? "running" : row.mailbox > 0 ? "ready" : "idle";
      row.running_ms = since != 0 ? static_cast<double>(now - since) / 1e6 : 0;
      row.busy_ms = static_cast<double>(s->busy_ns.load(std::memory_order_relaxed)) / 1e6;
      row.message = type_name(s->message.load(std::memory_order_relaxed));
      if (const auto found = restarts_.find(row.path); found != restarts_.end()) row.restarts = found->second;
      rows.push_back(std::move(row));
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return rows;
}

}  // namespace arca
