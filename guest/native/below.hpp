// Places in a container's root, always from its descriptor: links are followed as the container would, none leads out.
// For the child between clone and execve: no heap.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest::native {

/// openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | `resolve`; empty with errno.
unique_fd open_in_root(int root, const char* path, int flags, uint64_t resolve = 0);

enum class entry_kind : uint8_t { folder, file };

/// An O_PATH descriptor of `path`, made where it is missing (parents are folders, 0755). A link that dangles is
/// followed inside the root and what it names is made. Empty with errno; ENOTDIR where a file is in the way.
unique_fd make_in_root(int root, std::string_view path, entry_kind kind, uint64_t resolve = 0);

/// "/proc/self/fd/N" for calls that take no descriptor.
class fd_path {
 public:
  explicit fd_path(int fd) noexcept;
  const char* c_str() const noexcept { return text_; }

 private:
  char text_[32];
};

}  // namespace arca::guest::native
