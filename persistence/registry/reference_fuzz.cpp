// What is accepted as a name must come out of its own full text again, unchanged. (Not always of its familiar text:
// "docker.io/a.b/c" is shown as "a.b/c", in Docker too.)
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "persistence/registry/reference.hpp"

using arca::registry::reference;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto first = reference::parse(text);
  if (!first) return 0;
  if (first->domain().empty()) return 0;
  const auto full = reference::parse(first->string());
  if (!full || *full != *first) std::abort();
  if (!first->with_latest().with_tag("x") || first->path().size() > 255) std::abort();
  return 0;
}
