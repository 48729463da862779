// Bytes that were received and not yet consumed, in one piece.
#pragma once
#include <cstring>
#include <memory>
#include <string_view>

namespace arca::http {

class input_buffer {
 public:
  std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  void consume(size_t n) { begin_ += n; }

  /// Room for `size` bytes behind what is there; stays valid until the next prepare(), whatever is consumed meanwhile.
  char* prepare(size_t size) {
    if (capacity_ - end_ >= size) return data_.get() + end_;
    const size_t kept = end_ - begin_;
    size_t wanted = capacity_;
    while (wanted < kept + size) wanted = wanted == 0 ? size : wanted * 2;
    if (wanted == capacity_) {
      std::memmove(data_.get(), data_.get() + begin_, kept);
    } else {
      std::unique_ptr<char[]> grown(new char[wanted]);
      if (kept > 0) std::memcpy(grown.get(), data_.get() + begin_, kept);
      data_ = std::move(grown);
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = kept;
    return data_.get() + end_;
  }
  void commit(size_t n) { end_ += n; }

  /// Gives memory back when nothing is held; not while a prepared piece is in use.
  void shrink(size_t most) {
    if (!empty()) return;
    begin_ = end_ = 0;
    if (capacity_ > most) {
      data_.reset();
      capacity_ = 0;
    }
  }

 private:
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace arca::http
