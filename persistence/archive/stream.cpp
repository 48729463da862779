#include "persistence/archive/stream.hpp"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

namespace arca::archive {

byte_source source_of(std::function<result<size_t>(void*, size_t)> read, size_t piece) {
  auto buffer = std::make_shared<std::vector<char>>(piece);
  return [read = std::move(read), buffer]() -> result<std::string_view> {
    ARCA_TRY(n, read(buffer->data(), buffer->size()));
    return std::string_view(buffer->data(), n);
  };
}

byte_source source_of_fd(int fd) {
  return source_of([fd](void* to, size_t size) -> result<size_t> {
    for (;;) {
      const ssize_t n = ::read(fd, to, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return fail_errno("read archive");
    }
  });
}

byte_source source_of(std::string_view data) {
  return [data, given = false]() mutable -> result<std::string_view> {
    if (given) return std::string_view();
    given = true;
    return data;
  };
}

}  // namespace arca::archive
