// The inside of stdio_service.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "actors/streams/io_loop.hpp"
#include "actors/streams/process_io.hpp"
#include "actors/streams/work_pool.hpp"

namespace arca {

struct stdio_service::state {
  std::vector<std::shared_ptr<io_loop>> loops;
  std::shared_ptr<work_pool> readers;
  std::atomic<size_t> next{0};

  /// The loop with the fewest sockets.
  std::shared_ptr<io_loop> choose();
};

}  // namespace arca
