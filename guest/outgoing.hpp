// A piece of what a process's connection is to send.
#pragma once
#include <cstddef>
#include <memory>

namespace arca::guest {

struct outgoing {
  const char* at = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;  ///< while it is held the bytes stay as they are; none: good during the call only
};

}  // namespace arca::guest
