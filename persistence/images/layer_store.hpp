// Image layers on disk. Life of a layer:
//
//   begin() → layers/tmp-RANDOM/diff … feed() bytes as they arrive: they are hashed, inflated, hashed and unpacked by
//   threads of the writer while the next ones arrive → finish(): both digests are known and checked → commit(): renamed
//   to layers/<chain hex>, and only then visible → remove().
//
// A layer is a folder `diff` in overlayfs' form, `meta.json`, and `headers.zst`: the tar stream without the content of
// its files, from which the original tar can be put together again, byte by byte (docker save, push). Layers do not
// depend on each other on disk; several are unpacked at the same time. A crash leaves only tmp-… folders, which open()
// removes. All members of layer_store are thread-safe. One process uses a folder at a time.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/archive/extractor.hpp"
#include "persistence/base/error.hpp"

namespace arca::images {

/// Chain ids of an image's layers, lowest first ("sha256:…"), from its diff ids: the OCI rule.
std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids);
/// "sha256:" and 64 lower-case hex digits?
bool is_digest(std::string_view text);
/// The hex digits of a digest.
std::string hex_of(std::string_view digest);

struct layer_info {
  std::string chain_id;   ///< "sha256:…"
  std::string diff_id;    ///< digest of the uncompressed tar
  std::string diff_dir;   ///< absolute path: a lower folder for an overlay
  uint64_t size = 0;      ///< as Docker counts it (archive::extract_result::size)
  uint64_t tar_size = 0;  ///< of the uncompressed tar
  /// Digest and size of the compressed blob this layer came from, and its media type; empty when it came uncompressed.
  std::string blob_digest, blob_media_type;
  uint64_t blob_size = 0;
};

struct layer_limits {
  archive::extract_limits extract;
  uint64_t max_compressed = uint64_t{64} << 30;
  uint64_t max_tar = uint64_t{256} << 30;
  /// Uncompressed bytes per compressed byte, looked at only beyond the first `ratio_from` uncompressed bytes.
  uint32_t max_ratio = 1200;
  uint64_t ratio_from = uint64_t{4} << 30;
};

/// What is known of a layer before its bytes arrive; an empty text or 0: not known.
struct layer_expectation {
  std::string blob_digest;  ///< of the bytes fed, compressed or not
  uint64_t blob_size = 0;   ///< more bytes than that are refused at once
  std::string diff_id;
  std::string blob_media_type;
};

class layer_store;
struct layer_meta;

/// One layer being unpacked. One thread feeds. Destruction without commit() removes everything.
class layer_writer {
 public:
  ~layer_writer();
  layer_writer(const layer_writer&) = delete;
  layer_writer& operator=(const layer_writer&) = delete;

  /// Takes bytes of the blob, in order; waits while the threads are behind (a few MiB are in flight). Returns the first
  /// error of any stage as soon as it is known.
  result<void> feed(std::string_view bytes);
  /// The blob is complete: waits for the threads and checks digests and size. errc::invalid_argument with Docker's
  /// text ("filesystem layer verification failed for digest …") when they are not what was expected.
  result<void> finish();
  /// Makes the finished layer visible under `chain_id`. If that layer is there already, this one is dropped and the
  /// other returned. `durable`: the files are on disk first. Without it the layer is safe against the crash of any
  /// process; after a power cut, open() checks its content against the diff id and sets it aside when that fails.
  /// sync() makes layers durable later, many at once.
  result<layer_info> commit(const std::string& chain_id, bool durable = false);

  /// Uncompressed tar bytes that are unpacked so far; any thread.
  uint64_t unpacked() const noexcept;
  /// Compressed bytes that the inflater has taken so far; for "Extracting" lines, which Docker counts like this.
  uint64_t consumed() const noexcept;
  /// Known after finish().
  const layer_info& info() const noexcept;
  /// Makes every waiting call return errc::cancelled; any thread.
  void cancel() noexcept;

 private:
  friend class layer_store;
  struct impl;
  explicit layer_writer(std::unique_ptr<impl> self);
  std::unique_ptr<impl> self_;
};

class layer_store {
 public:
  /// `folder` (DATA_ROOT/layers) is made if missing; tmp-… folders of a crash go; a layer whose meta.json does not hold
  /// is renamed to broken-… with a log line.
  static result<std::unique_ptr<layer_store>> open(std::string folder, layer_limits limits = {});

  std::optional<layer_info> find(const std::string& chain_id) const;
  std::vector<layer_info> list() const;
  /// diff folders for an overlay, topmost first. errc::not_found names the layer that is missing.
  result<std::vector<std::string>> lower_dirs(const std::vector<std::string>& diff_ids) const;

  result<std::unique_ptr<layer_writer>> begin(layer_expectation expected = {});

  /// A layer with this diff id, on whatever chain.
  std::optional<layer_info> find_diff(const std::string& diff_id) const;
  /// A layer whose tar has this digest, or that came from a compressed blob with it.
  std::optional<layer_info> find_bytes(const std::string& digest) const;
  /// Whether any layer's tar or compressed blob has this many bytes: worth a look at the digest.
  bool has_size(uint64_t bytes) const;

  /// Takes a layer out: it is invisible when this returns. The answer is the folder whose deletion, which may take long,
  /// is left to the caller (open() deletes it too); empty when there was no such layer.
  result<std::string> withdraw(const std::string& chain_id);
  /// The same, and deletes the files.
  result<void> remove(const std::string& chain_id);

  /// The layer's tar exactly as it was (its sha256 is the diff id, checked while it is written): an error after bytes
  /// were given means that the files were changed.
  result<void> read_tar(const std::string& chain_id, const archive::byte_sink& sink) const;

  /// Writes all layers that were committed without `durable` to disk (syncfs) and notes it. May take seconds.
  result<void> sync();

  const std::string& folder() const noexcept { return folder_; }

 private:
  friend class layer_writer;
  struct stored {
    layer_info info;
    bool synced = false;
  };
  explicit layer_store(std::string folder, layer_limits limits) : folder_(std::move(folder)), limits_(limits) {}
  result<void> scan();
  void take_up(const std::string& name, const std::string& boot_id);
  std::string path_of(const std::string& chain_id) const;
  result<layer_info> publish(const layer_meta& meta, const std::string& temporary);

  const std::string folder_;
  const layer_limits limits_;
  mutable std::mutex mutex_;
  std::map<std::string, stored> layers_;  // by chain id
};

}  // namespace arca::images
