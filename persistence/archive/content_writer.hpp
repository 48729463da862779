// Writes a file's content at given offsets; long runs of zeros become holes, so that bombs of zeros cost no disk.
#pragma once
#include <cstdint>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::archive {

class content_writer {
 public:
  explicit content_writer(int fd) : fd_(fd) {}
  result<void> write(uint64_t offset, std::string_view data);
  /// Gives the file its size where it ends in a hole.
  result<void> finish(uint64_t size);

 private:
  result<void> put(uint64_t offset, std::string_view data);
  int fd_;
  uint64_t end_ = 0;
};

}  // namespace arca::archive
