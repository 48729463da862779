#include "persistence/base/memory.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <memory>

namespace arca {

void give_back_memory() {
  ::malloc_trim(0);
  struct closer {
    void operator()(FILE* f) const { std::fclose(f); }
  };
  const std::unique_ptr<FILE, closer> maps(std::fopen("/proc/self/maps", "re"));
  char line[512];
  while (maps && std::fgets(line, sizeof line, maps.get()) != nullptr) {
    uintptr_t begin = 0, end = 0;
    char mode[5] = {}, path[2] = {};
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %1s", &begin, &end, mode, path) != 4) continue;
    // Only text: it is never written, so nothing is lost; data that relocation has changed would be.
    if (mode[0] == 'r' && mode[1] == '-' && mode[2] == 'x' && path[0] == '/')
      (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

}  // namespace arca
