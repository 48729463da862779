#include "guest/chunk_pool.hpp"

#include <sys/mman.h>

#include <new>

namespace arca::guest {

chunk_pool::chunk_pool(std::function<void()> on_spare) : store_(std::make_shared<store>()) {
  store_->on_spare = std::move(on_spare);
}

chunk_pool::~chunk_pool() {
  {
    const std::lock_guard lock(store_->guard);
    store_->most = 0;
    store_->on_spare = nullptr;
  }
  store_->trim();
}

chunk_pool::memory chunk_pool::take() {
  char* block = nullptr;
  {
    const std::lock_guard lock(store_->guard);
    if (!store_->spare.empty()) {
      block = store_->spare.back();
      store_->spare.pop_back();
    }
  }
  if (!block) {
    void* fresh = mmap(nullptr, chunk_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) throw std::bad_alloc();
    block = static_cast<char*>(fresh);
  }
  return {block, [from = store_](char* memory) { from->give_back(memory); }};
}

void chunk_pool::store::give_back(char* block) {
  const std::lock_guard lock(guard);
  if (spare.size() >= most) {
    munmap(block, chunk_size);
    return;
  }
  spare.push_back(block);
  if (!told && on_spare) on_spare();
  told = true;
}

void chunk_pool::store::trim() {
  const std::lock_guard lock(guard);
  for (char* block : spare) munmap(block, chunk_size);
  spare.clear();
  spare.shrink_to_fit();
  told = false;
}

void chunk_pool::trim() {
  store_->trim();
}

size_t chunk_pool::spare() const {
  const std::lock_guard lock(store_->guard);
  return store_->spare.size();
}

}  // namespace arca::guest
