// What is accepted as a name must come out of its own text again, unchanged.
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
  const auto familiar = reference::parse(first->familiar());
  // A path of 64 hexadecimal digits is an id when it stands alone.
  const bool like_id = arca::registry::is_identifier(first->familiar());
  if (!full || *full != *first || (!like_id && (!familiar || *familiar != *first))) std::abort();
  if (!first->with_latest().with_tag("x") || first->path().size() > 255) std::abort();
  return 0;
}
