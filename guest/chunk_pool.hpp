// Blocks of memory for unread output, taken straight from the kernel so that an idle agent holds none. A block may be
// let go on any thread: gRPC sends from it.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace arca::guest {

class chunk_pool {
 public:
  /// 32 whole output frames and a bit, in whole pages: a large read of a busy pipe. Pages cost nothing before they are
  /// written to.
  static constexpr size_t chunk_size = 129u * 4096;
  static constexpr size_t max_spare = 4;

  using memory = std::shared_ptr<char>;

  /// `on_spare` is called on the thread that lets a block go, once before each trim, when the pool keeps it: trim is
  /// due some time later.
  explicit chunk_pool(std::function<void()> on_spare = {});
  chunk_pool(const chunk_pool&) = delete;
  chunk_pool& operator=(const chunk_pool&) = delete;
  /// Blocks that are still held go back to the kernel when they are let go.
  ~chunk_pool();

  /// Throws std::bad_alloc. The most recently returned block comes first: it is the warmest.
  memory take();
  /// Gives the spare blocks back to the kernel.
  void trim();
  size_t spare() const;

 private:
  struct store {
    std::mutex guard;
    std::function<void()> on_spare;
    std::vector<char*> spare;
    size_t most = max_spare;
    bool told = false;  ///< that trim is due

    void give_back(char* block);
    void trim();
  };
  std::shared_ptr<store> store_;
};

}  // namespace arca::guest
