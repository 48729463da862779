// Blocks of memory for unread output, taken straight from the kernel so that an idle agent holds none.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace arca::guest {

class chunk_pool {
 public:
  /// 32 whole output frames and a bit, in whole pages: a large read of a busy pipe. Pages cost nothing before they are
  /// written to.
  static constexpr size_t chunk_size = 129u * 4096;
  static constexpr size_t max_spare = 4;

  struct returner {
    chunk_pool* pool = nullptr;
    void operator()(char* memory) const { pool->give_back(memory); }
  };
  using memory = std::unique_ptr<char, returner>;

  /// `on_spare` is called when the pool, empty before, keeps a block: trim is due some time later.
  explicit chunk_pool(std::function<void()> on_spare = {}) : on_spare_(std::move(on_spare)) {}
  chunk_pool(const chunk_pool&) = delete;
  chunk_pool& operator=(const chunk_pool&) = delete;
  ~chunk_pool() { trim(); }

  /// Throws std::bad_alloc. The most recently returned block comes first: it is the warmest.
  memory take();
  /// Gives the spare blocks back to the kernel.
  void trim();
  size_t spare() const { return spare_.size(); }

 private:
  void give_back(char* memory);
  std::function<void()> on_spare_;
  std::vector<char*> spare_;
};

}  // namespace arca::guest
