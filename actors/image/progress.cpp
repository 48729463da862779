#include "actors/image/progress.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace arca {
namespace {
using json = nlohmann::ordered_json;
constexpr auto shortest_gap = std::chrono::milliseconds(100);
constexpr size_t patience = 256u << 10;  // bytes that a client has not taken before it gets no more numbers

// Go's encoder writes <, > and & like this; they occur in strings only.
std::string line_of(const json& value) {
  const auto plain = value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string out;
  out.reserve(plain.size() + 8);
  for (const char c : plain) {
    if (c == '>')
      out += "\\u003e";
    else if (c == '<')
      out += "\\u003c";
    else if (c == '&')
      out += "\\u0026";
    else
      out += c;
  }
  return out + "\r\n";
}
}  // namespace

std::string human_size(double bytes) {
  static constexpr std::array units = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  while (bytes >= 1000.0 && unit + 1 < units.size()) {
    bytes /= 1000.0;
    ++unit;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.4g%s", bytes, units[unit]);
  return text.data();
}

std::string progress_bar(int64_t current, int64_t total) {
  std::array<char, 64> numbers{};
  if (current <= 0 && total <= 0) return {};
  if (total <= 0) {
    std::snprintf(numbers.data(), numbers.size(), "%8s", human_size(static_cast<double>(current)).c_str());
    return numbers.data();
  }
  const int filled =
      std::min(50, static_cast<int>(static_cast<double>(current) / static_cast<double>(total) * 100) / 2);
  const auto now = human_size(static_cast<double>(current));
  if (current > total)
    std::snprintf(numbers.data(), numbers.size(), "%8s", now.c_str());
  else
    std::snprintf(numbers.data(), numbers.size(), "%8s/%s", now.c_str(),
                  human_size(static_cast<double>(total)).c_str());
  return '[' + std::string(static_cast<size_t>(filled), '=') + '>' +
         std::string(static_cast<size_t>(50 - filled), ' ') + "] " + numbers.data();
}

bool progress_output::add(std::shared_ptr<byte_channel> client) {
  std::string history;
  {
    const std::lock_guard guard(lock_);
    if (ended_) return false;
    for (const auto& line : heads_) history += line;
    for (const auto& layer : layers_) history += layer.line;
    if (!history.empty()) client->push(std::move(history));
    clients_.push_back(client);
  }
  client->on_abort([this, raw = client.get()] { gone(raw); });
  return true;
}

void progress_output::gone(const byte_channel* client) {
  std::function<void()> due;
  {
    const std::lock_guard guard(lock_);
    std::erase_if(clients_, [client](const auto& c) { return c.get() == client; });
    if (clients_.empty() && !ended_) due = std::exchange(last_gone_, nullptr);
  }
  if (due) due();
}

void progress_output::on_last_gone(std::function<void()> callback) {
  const std::lock_guard guard(lock_);
  last_gone_ = std::move(callback);
}

void progress_output::on_begun(std::function<void()> callback) {
  {
    const std::lock_guard guard(lock_);
    if (!begun_ && !ended_) {
      begun_callback_ = std::move(callback);
      return;
    }
  }
  callback();
}

bool progress_output::begun() const {
  const std::lock_guard guard(lock_);
  return begun_;
}

void progress_output::write(const std::string& id, std::string line, bool optional) {
  std::function<void()> due;
  {
    const std::lock_guard guard(lock_);
    if (ended_) return;
    if (id.empty()) {
      heads_.push_back(line);
    } else {
      const auto found = std::find_if(layers_.begin(), layers_.end(), [&](const auto& l) { return l.id == id; });
      if (found == layers_.end())
        layers_.push_back({id, line});
      else
        found->line = line;
    }
    const auto shared = std::make_shared<const std::string>(std::move(line));
    for (const auto& client : clients_)
      if (!optional || client->queued() < patience) client->push(shared);
    begun_ = true;
    due = std::exchange(begun_callback_, nullptr);
  }
  if (due) due();
}

void progress_output::message(const std::string& id, const std::string& text) {
  json line = {{"status", text}};
  if (!id.empty()) line["id"] = id;
  write({}, line_of(line), false);
}

void progress_output::state(const std::string& id, const std::string& text) {
  write(id, line_of({{"status", text}, {"progressDetail", json::object()}, {"id", id}}), false);
}

void progress_output::bytes(const std::string& id, const std::string& text, int64_t current, int64_t total) {
  {
    const std::lock_guard guard(lock_);
    auto& last = shown_[id];
    const auto now = std::chrono::steady_clock::now();
    if (current != total && now - last < shortest_gap) return;
    last = now;
  }
  json detail = {{"current", current}};
  if (total > 0) detail["total"] = total;
  write(id,
        line_of({{"status", text}, {"progressDetail", detail}, {"progress", progress_bar(current, total)}, {"id", id}}),
        true);
}

void progress_output::stream_text(const std::string& text) {
  write({}, line_of({{"stream", text}}), false);
}

void progress_output::finish() {
  finish(error());
}

void progress_output::fail_in_stream(const error& why) {
  write({}, line_of({{"errorDetail", {{"message", why.message()}}}, {"error", why.message()}}), false);
  finish();
}

void progress_output::finish(const error& why) {
  if (why.code() != errc::none && begun()) {
    fail_in_stream(why);
    return;
  }
  std::function<void()> due;
  std::vector<std::shared_ptr<byte_channel>> clients;
  {
    const std::lock_guard guard(lock_);
    if (ended_) return;
    ended_ = true;
    if (!begun_) failure_ = why;
    clients.swap(clients_);
    due = std::exchange(begun_callback_, nullptr);
    last_gone_ = nullptr;
  }
  for (const auto& client : clients) client->close();
  if (due) due();
}

}  // namespace arca
