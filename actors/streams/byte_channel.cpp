#include "actors/streams/byte_channel.hpp"

namespace arca {

namespace {
boost::system::error_code ended(bool aborted) {
  return aborted ? boost::system::error_code(boost::asio::error::operation_aborted) : boost::system::error_code();
}
}  // namespace

void byte_channel::on_writable(std::function<void()> callback) {
  std::function<void()> due;
  {
    const std::lock_guard guard(lock_);
    std::swap(on_writable_, callback);  // the old one is destroyed without the lock
    // The window may have emptied between the push that answered `full` and this call.
    if (producer_waits_ && bytes_ < window_ && on_writable_) {
      producer_waits_ = false;
      due = on_writable_;
    }
  }
  if (due) due();
}

void byte_channel::on_abort(std::function<void()> callback) {
  std::function<void()> due;
  {
    const std::lock_guard guard(lock_);
    if (aborted_)
      due = std::move(callback);
    else if (!closed_)
      std::swap(on_abort_, callback);
  }
  if (due) due();
}

byte_channel::push_result byte_channel::push(chunk data) {
  std::unique_lock guard(lock_);
  if (aborted_ || closed_) return push_result::closed;
  if (data->empty()) return bytes_ >= window_ ? push_result::full : push_result::more;
  bytes_ += data->size();
  queue_.push_back(std::move(data));
  const bool full = bytes_ >= window_;
  if (full) producer_waits_ = true;
  wake(guard);
  return full ? push_result::full : push_result::more;
}

bool byte_channel::push_blocking(std::string data) {
  {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [this] { return aborted_ || closed_ || bytes_ < window_; });
    if (aborted_ || closed_) return false;
  }
  return push(std::move(data)) != push_result::closed;
}

void byte_channel::close() {
  close_with(std::nullopt);
}
void byte_channel::close(error why) {
  close_with(std::move(why));
}

void byte_channel::close_with(std::optional<error> why) {
  std::function<void()> writable, abort_callback;
  std::unique_lock guard(lock_);
  if (closed_ || aborted_) return;
  closed_ = true;
  failure_ = std::move(why);
  writable = std::move(on_writable_);  // they hold the producer: it is done
  abort_callback = std::move(on_abort_);
  on_writable_ = nullptr;
  on_abort_ = nullptr;
  wake(guard);
}

bool byte_channel::aborted() const {
  const std::lock_guard guard(lock_);
  return aborted_;
}

batch byte_channel::read_blocking() {
  std::function<void()> credit;
  batch data;
  {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [this] { return aborted_ || closed_ || !queue_.empty(); });
    data = take(credit);
  }
  changed_.notify_all();
  if (credit) credit();
  return data;
}

void byte_channel::receive(std::function<void(batch)> callback) {
  struct impl final : waiter {
    explicit impl(std::function<void(batch)> c) : callback(std::move(c)) {}
    void fire(boost::system::error_code, batch data) override { callback(std::move(data)); }
    std::function<void(batch)> callback;
  };
  wait_or_fire(std::make_unique<impl>(std::move(callback)));
}

void byte_channel::abort() {
  std::function<void()> writable, callback;
  std::unique_ptr<waiter> reader;
  batch dropped;
  {
    const std::lock_guard guard(lock_);
    if (aborted_) return;
    aborted_ = true;
    dropped.swap(queue_);
    bytes_ = 0;
    writable = std::move(on_writable_);
    callback = std::move(on_abort_);
    on_writable_ = nullptr;
    on_abort_ = nullptr;
    reader = std::move(reader_);
  }
  changed_.notify_all();
  if (reader) reader->fire(ended(true), {});
  if (callback) callback();
}

std::optional<error> byte_channel::failure() const {
  const std::lock_guard guard(lock_);
  return failure_;
}

size_t byte_channel::queued() const {
  const std::lock_guard guard(lock_);
  return bytes_;
}

batch byte_channel::take(std::function<void()>& credit) {
  batch data;
  data.swap(queue_);
  bytes_ = 0;
  if (producer_waits_ && on_writable_) {
    producer_waits_ = false;
    credit = on_writable_;
  }
  return data;
}

void byte_channel::wait_or_fire(std::unique_ptr<waiter> reader) {
  std::function<void()> credit;
  batch data;
  bool gone = false;
  {
    const std::lock_guard guard(lock_);
    if (queue_.empty() && !closed_ && !aborted_) {
      reader_ = std::move(reader);
      return;
    }
    gone = aborted_;
    data = take(credit);
  }
  changed_.notify_all();
  reader->fire(ended(gone), std::move(data));
  if (credit) credit();
}

void byte_channel::wake(std::unique_lock<std::mutex>& guard) {
  if (!reader_) {
    guard.unlock();
    changed_.notify_all();
    return;
  }
  auto reader = std::move(reader_);
  std::function<void()> credit;
  auto data = take(credit);
  guard.unlock();
  changed_.notify_all();
  reader->fire({}, std::move(data));
  if (credit) credit();
}

}  // namespace arca
