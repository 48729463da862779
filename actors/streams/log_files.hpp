// The files of one json-file log: PATH is written, PATH.1 is the last one rotated away, PATH.2 the one before. Each
// file has a generation number that does not change when it is renamed, so that a reader goes from one to the next
// whatever the writer does meanwhile. One writer, any number of readers, any threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca {

using shared_fd = std::shared_ptr<const unique_fd>;

/// A place in a log: behind `size` bytes of the file of `generation`.
struct log_place {
  uint64_t generation = 0, size = 0;
  bool operator==(const log_place&) const = default;
};

/// Someone who wants to know when there is more.
class log_follower {
 public:
  virtual ~log_follower() = default;
  virtual void wake() = 0;           ///< any thread; must not block
  std::atomic<uint64_t> reading{0};  ///< generation that it reads
};

class log_files {
 public:
  log_files(std::string path, int max_file);

  // ---- the writer
  result<unique_fd> open_current();
  /// Renames, removes the oldest, and answers a new empty file.
  result<unique_fd> rotate();
  /// The process runs: followers wait at the end instead of ending there.
  void set_live(bool live);
  void notify();

  // ---- readers
  bool live() const { return live_.load(std::memory_order_acquire); }
  uint64_t current() const { return current_.load(std::memory_order_acquire); }
  struct file {
    uint64_t generation = 0;
    shared_fd fd;
  };
  /// The oldest generation that may have a file.
  uint64_t oldest() const { return current() - (max_file_ - 1); }
  /// All files, oldest first, with those kept for a follower that began at `from`. Empty when there is none.
  std::vector<file> open_all(uint64_t from) const;
  /// The file of `generation`, or the next one that still exists: a follower that is further behind than what is kept
  /// for it (64 MiB, 256 files beside the log's own) has lost lines. A null fd when there is none.
  file open_from(uint64_t generation) const;
  void add(std::weak_ptr<log_follower> follower);

  const std::string& path() const { return path_; }

 private:
  std::string name(uint64_t generation) const;
  void close_gaps();
  void keep_for_followers(uint64_t generation);
  void drop_kept();

  const std::string path_;
  const uint64_t max_file_;
  std::atomic<bool> live_{false};
  std::atomic<uint64_t> current_;
  mutable std::mutex lock_;             ///< held while names change
  std::map<uint64_t, shared_fd> kept_;  ///< removed from the folder, still read by a follower
  std::vector<std::weak_ptr<log_follower>> followers_;
  std::atomic<bool> followed_{false};
};

}  // namespace arca
