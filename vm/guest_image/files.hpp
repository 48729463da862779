// Size and checksum of files, as manifests name them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::vm {

struct file_digest {
  uint64_t size = 0;
  std::string sha256;  ///< 64 hex digits
  bool operator==(const file_digest& other) const { return size == other.size && sha256 == other.sha256; }
};

file_digest digest_of_data(std::string_view data);
result<file_digest> digest_of_file(const std::string& path);
/// A new file of mode 0644 with this content, on disk when it returns.
result<file_digest> write_durable(const std::string& path, std::string_view data);
/// Makes renames and removals in a folder last.
result<void> sync_folder(const std::string& path);

}  // namespace arca::vm
