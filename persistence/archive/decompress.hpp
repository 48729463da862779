// Decompression of gzip, bzip2, xz and zstd streams inside this process (never a helper program: CVE-2019-14271 and
// CVE-2026-41567 are engines that ran one).
#pragma once
#include <string_view>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

enum class compression : uint8_t { none, gzip, bzip2, xz, zstd };

/// By the first bytes (6 suffice) of a stream.
compression detect_compression(std::string_view head) noexcept;

/// The decompressed bytes of `source`; a stream that is not compressed passes through unchanged.
byte_source decompress(byte_source source);
/// The same, and lz4 too, with the legacy frame that Linux kernels have: no layer may be compressed with it.
byte_source decompress_with_lz4(byte_source source);

}  // namespace arca::archive
