#include "guest/chunk_pool.hpp"

#include <sys/mman.h>

#include <new>

namespace arca::guest {

chunk_pool::memory chunk_pool::take() {
  if (!spare_.empty()) {
    char* found = spare_.back();
    spare_.pop_back();
    return {found, {this}};
  }
  void* fresh = mmap(nullptr, chunk_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<char*>(fresh), {this}};
}

void chunk_pool::give_back(char* block) {
  if (spare_.size() < max_spare) {
    spare_.push_back(block);
    if (spare_.size() == 1 && on_spare_) on_spare_();
  } else {
    munmap(block, chunk_size);
  }
}

void chunk_pool::trim() {
  for (char* block : spare_) munmap(block, chunk_size);
  spare_.clear();
  spare_.shrink_to_fit();
}

}  // namespace arca::guest
