// A tar stream without the content of its files ("headers.zst"), and the stream put together again from it and the
// unpacked files. What tar-split is to Docker: the only way to give back an archive with the same digest.
//
// Format: "arca-tar-1\n", then one zstd frame of records: 'R' n bytes (raw) · 'F' n path (content of this file follows)
// · 'D' offset length (this part of the file) · 'E' (end). Numbers are LEB128.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "persistence/archive/extractor.hpp"
#include "persistence/base/unique_fd.hpp"
#include "persistence/images/chunk_queue.hpp"

namespace arca::images {

/// A file that a later entry of the same tar replaced: kept beside the tree as `<index in the list>`.
struct replaced_file {
  std::string path;
  uint64_t before = 0;  ///< it is the content of the newest 'F' of this path among the first `before` ones
};

class tar_log_writer {
 public:
  explicit tar_log_writer(unique_fd out);
  ~tar_log_writer();

  /// The next bytes of the stream; called before they are parsed.
  result<void> add(chunk_ptr piece);
  /// These bytes of the stream are in that file.
  result<void> payload(const archive::payload_range& range);
  /// Number of files with content so far.
  uint64_t files() const noexcept { return files_; }
  /// All bytes were added.
  result<void> finish();

 private:
  struct encoder;
  result<void> raw_until(uint64_t position);
  result<void> flush_part();

  unique_fd out_;
  std::unique_ptr<encoder> encoder_;
  std::deque<std::pair<uint64_t, chunk_ptr>> window_;  // stream position of each piece
  uint64_t end_ = 0;                                   // of what was added
  uint64_t cursor_ = 0;                                // everything before is recorded
  uint64_t files_ = 0, entry_ = 0;
  bool in_file_ = false;
  uint64_t part_offset_ = 0, part_length_ = 0;
};

/// Gives the stream to `sink`. `tree` is the unpacked root, `replaced_folder` holds the replaced files (-1: there are
/// none).
result<void> reassemble(int log, int tree, int replaced_folder, const std::vector<replaced_file>& replaced,
                        const archive::byte_sink& sink);

}  // namespace arca::images
