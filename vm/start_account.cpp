#include "vm/start_account.hpp"

#include <algorithm>

namespace arca::vm {
namespace {
double milliseconds(start_account::clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}
}  // namespace

void start_account::begin(clock::time_point asked) {
  const std::lock_guard guard(lock_);
  asked_ = asked;
  calls_.clear();
  closed_ = false;
}

void start_account::waited(std::string what, clock::time_point from, clock::time_point to) {
  const std::lock_guard guard(lock_);
  if (!closed_ && calls_.size() < most_calls) calls_.push_back({std::move(what), from, to});
}

void start_account::close() {
  const std::lock_guard guard(lock_);
  closed_ = true;
}

std::vector<start_step> start_account::steps() const {
  const std::lock_guard guard(lock_);
  auto calls = calls_;
  std::ranges::stable_sort(calls, {}, &call::from);
  std::vector<start_step> out;
  auto covered = asked_;  // up to here some line says what happened
  for (auto& one : calls) {
    if (one.to <= asked_) continue;
    const auto from = std::max(one.from, asked_);
    if (from > covered) out.push_back({engine, milliseconds(covered - asked_), milliseconds(from - covered)});
    out.push_back({std::move(one.what), milliseconds(from - asked_), milliseconds(one.to - from)});
    covered = std::max(covered, one.to);
  }
  return out;
}

double engine_share(const std::vector<start_step>& steps) {
  double sum = 0;
  for (const auto& step : steps)
    if (step.what == start_account::engine) sum += step.ms;
  return sum;
}

double whole_start(const std::vector<start_step>& steps) {
  double end = 0;
  for (const auto& step : steps) end = std::max(end, step.at + step.ms);
  return end;
}

}  // namespace arca::vm
