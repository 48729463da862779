#include "persistence/archive/content_writer.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace arca::archive {
namespace {

constexpr size_t hole_piece = 64u << 10;

bool all_zero(std::string_view data) {
  return data.front() == '\0' && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0;
}

}  // namespace

result<void> content_writer::put(uint64_t offset, std::string_view data) {
  end_ = std::max(end_, offset + data.size());
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("write");
    }
    data.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

result<void> content_writer::write(uint64_t offset, std::string_view data) {
  if (data.size() < hole_piece) return put(offset, data);
  size_t start = 0;  // of what waits to be written
  for (size_t at = 0; at < data.size();) {
    const size_t n = std::min(hole_piece, data.size() - at);
    if (n == hole_piece && all_zero(data.substr(at, n))) {
      if (at > start) ARCA_CHECK(put(offset + start, data.substr(start, at - start)));
      start = at + n;
    }
    at += n;
  }
  if (start < data.size()) return put(offset + start, data.substr(start));
  return {};
}

result<void> content_writer::finish(uint64_t size) {
  if (size > end_ && ::ftruncate(fd_, static_cast<off_t>(size)) != 0) return fail_errno("truncate");
  return {};
}

}  // namespace arca::archive
