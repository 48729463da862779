// Frames that do not fit into memory while no daemon reads: a first-in first-out file.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class spool_file {
 public:
  /// Made at the first append, removed by the destructor.
  explicit spool_file(std::string path) : path_(std::move(path)) {}
  spool_file(const spool_file&) = delete;
  spool_file& operator=(const spool_file&) = delete;
  ~spool_file();

  /// All or nothing.
  result<void> append(std::string_view bytes);
  /// Copies up to `size` bytes from the front without removing them; the number copied.
  result<size_t> peek(char* into, size_t size) const;
  /// Removes `size` bytes from the front and gives their disk space back.
  void drop_front(uint64_t size);
  uint64_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }

 private:
  std::string path_;
  unique_fd file_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
};

}  // namespace arca::guest
