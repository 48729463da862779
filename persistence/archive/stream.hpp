// How archive code takes and gives bytes: pull from a source, push into a sink. Both may block; both may fail.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::archive {

/// The code of "this archive is broken or forbidden": Docker answers 500 to it.
inline constexpr errc bad_archive = errc::internal;

/// The next piece of a stream, valid until the next call; empty at the end.
using byte_source = std::function<result<std::string_view>()>;
/// Takes a piece; an error stops whoever produces it.
using byte_sink = std::function<result<void>(std::string_view)>;

/// The bytes of a descriptor, read in pieces of 1 MiB. The descriptor must outlive the source.
byte_source source_of_fd(int fd);
/// A text in memory, in one piece. The text must outlive the source.
byte_source source_of(std::string_view data);
/// From a read(2)-like function: bytes stored in the buffer, 0 at the end.
byte_source source_of(std::function<result<size_t>(void*, size_t)> read, size_t piece = 1u << 20);

}  // namespace arca::archive
