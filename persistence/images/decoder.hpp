// Decompression as fast as this machine can: gzip by ISA-L, zstd by its library, bzip2 and xz by libarchive's filters.
#pragma once
#include <memory>
#include <string_view>

#include "persistence/archive/decompress.hpp"
#include "persistence/archive/stream.hpp"

namespace arca::images {

class decoder {
 public:
  virtual ~decoder() = default;
  /// Fills the buffer, as full as it goes; 0 is the end. A stream that ends early is "unexpected EOF".
  virtual result<size_t> read(char* to, size_t size) = 0;
};

/// For a stream that begins with `kind` (not none). The source must outlive the decoder.
std::unique_ptr<decoder> make_decoder(archive::compression kind, archive::byte_source source);

/// Decompressed bytes of a stream whose kind is found by its first bytes.
archive::byte_source decoded(archive::byte_source source);

}  // namespace arca::images
