// Writes single members into a tar stream: for archives that are put together (docker save, copying one file).
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

struct member {
  enum class kind : uint8_t { file, folder, symlink };
  std::string name;
  kind type = kind::file;
  uint32_t mode = 0644;
  uint32_t uid = 0, gid = 0;
  int64_t mtime = 0;  ///< unix seconds
  uint64_t size = 0;  ///< of a file
  std::string link;   ///< target of a symlink
};

class tar_writer {
 public:
  explicit tar_writer(byte_sink sink);
  ~tar_writer();
  tar_writer(const tar_writer&) = delete;
  tar_writer& operator=(const tar_writer&) = delete;

  /// Starts a member; the one before must have got all its bytes.
  result<void> begin(const member& m);
  /// Content of the member that was begun last, in pieces.
  result<void> write(std::string_view data);
  /// begin and write in one.
  result<void> add(member m, std::string_view data);
  /// The end mark. Nothing may follow.
  result<void> finish();

 private:
  struct impl;
  std::unique_ptr<impl> self_;
};

}  // namespace arca::archive
