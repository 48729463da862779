#include <algorithm>

#include "actors/streams/service_state.hpp"

namespace arca {

stdio_service::stdio_service(size_t threads) : state_(std::make_unique<state>()) {
  for (size_t i = 0; i < std::max<size_t>(threads, 1); ++i) state_->loops.push_back(std::make_shared<io_loop>());
  state_->readers = std::make_shared<work_pool>(2);
}

stdio_service::~stdio_service() {
  state_->readers->stop();
  for (auto& loop : state_->loops) loop->stop();
}

std::shared_ptr<io_loop> stdio_service::state::choose() {
  const auto first = next.fetch_add(1, std::memory_order_relaxed) % loops.size();
  auto best = loops[first];
  for (const auto& loop : loops)
    if (loop->load() < best->load()) best = loop;
  return best;
}

}  // namespace arca
