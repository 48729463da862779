// The threads that turn a blob into an unpacked layer:
//
//   feed → [queue] → decode (hash of the blob, inflate) → [queue] → hash of the tar
//                                                       → [queue] → unpack, tar log
//
// A blob that fits into one buffer never starts a thread: finish() does the work on the caller's.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "persistence/base/sha256.hpp"
#include "persistence/images/layer_store.hpp"
#include "persistence/images/tar_log.hpp"

namespace arca::images {

struct pipeline_result {
  std::string blob_digest, diff_id;
  uint64_t blob_size = 0, tar_size = 0;
  bool compressed = false;
  archive::extract_result tree;
  std::vector<replaced_file> replaced;
};

class layer_pipeline {
 public:
  /// Unpacks into FOLDER/diff, writes FOLDER/headers.zst and, when needed, FOLDER/replaced/.
  layer_pipeline(std::string folder, const layer_limits& limits, uint64_t expected_size);
  ~layer_pipeline();
  layer_pipeline(const layer_pipeline&) = delete;
  layer_pipeline& operator=(const layer_pipeline&) = delete;

  result<void> feed(std::string_view bytes);
  result<pipeline_result> finish();
  void cancel(error why) noexcept;

  uint64_t unpacked() const noexcept { return unpacked_; }
  uint64_t consumed() const noexcept { return consumed_; }

 private:
  using sink = std::function<result<void>(chunk_ptr)>;
  result<void> decode(const archive::byte_source& blob, const sink& out);
  result<void> unpack(const std::function<chunk_ptr()>& next);
  void start_threads();
  void join();
  result<void> check() const;
  result<void> run_here();

  const std::string folder_;
  const layer_limits limits_;
  const uint64_t expected_size_;
  std::shared_ptr<chunk_pool> pool_ = std::make_shared<chunk_pool>();
  chunk_queue blob_, to_hash_, to_unpack_;
  std::vector<std::thread> threads_;
  chunk_ptr filling_;
  uint64_t fed_ = 0;
  std::atomic<uint64_t> unpacked_ = 0, consumed_ = 0;

  mutable std::mutex mutex_;
  error failure_;  // the first one

  // Each is written by one stage and read after join().
  sha256 blob_hash_, tar_hash_;
  pipeline_result out_;
};

}  // namespace arca::images
