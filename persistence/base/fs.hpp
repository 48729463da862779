// Files as the engine uses them: whole-file read and write, atomic replace, bounded and without surprises.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::fs {

/// The whole file, at most `limit` bytes (else errc::invalid_argument).
result<std::string> read_file(const std::string& path, size_t limit = 64u << 20);
/// Writes a temporary file beside `path`, then renames it over `path`; with `durable`, fsyncs file and folder.
result<void> write_file_atomic(const std::string& path, std::string_view data, int mode = 0600, bool durable = false);
/// All bytes, EINTR and short writes handled.
result<void> write_all(int fd, std::string_view data);
/// mkdir -p; an existing folder is fine and keeps its mode.
result<void> make_dirs(const std::string& path, int mode = 0700);
/// Names in a folder, without "." and "..", in no order.
result<std::vector<std::string>> list(const std::string& path);
/// rm -rf that never follows a symbolic link and never crosses into a mount; a missing path is success.
result<void> remove_tree(const std::string& path);
/// open(2) with O_CLOEXEC.
result<unique_fd> open(const std::string& path, int flags, int mode = 0600);

}  // namespace arca::fs
