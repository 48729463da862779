#include "persistence/images/layer_pipeline.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "persistence/base/fs.hpp"
#include "persistence/images/decoder.hpp"

namespace arca::images {

layer_pipeline::layer_pipeline(std::string folder, const layer_limits& limits, uint64_t expected_size)
    : folder_(std::move(folder)), limits_(limits), expected_size_(expected_size) {}

layer_pipeline::~layer_pipeline() {
  cancel({errc::cancelled, "layer was given up"});
  join();
}

void layer_pipeline::cancel(error why) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.code() == errc::none) failure_ = std::move(why);
  }
  blob_.stop();
  to_hash_.stop();
  to_unpack_.stop();
}

void layer_pipeline::join() {
  for (auto& t : threads_) t.join();
  threads_.clear();
}

result<void> layer_pipeline::check() const {
  const std::lock_guard lock(mutex_);
  if (failure_.code() != errc::none) return fail(failure_);
  return {};
}

void layer_pipeline::start_threads() {
  const auto stage = [this](auto body) {
    threads_.emplace_back([this, body] {
      if (result<void> done = body(); !done) cancel(done.error());
    });
  };
  stage([this]() -> result<void> {
    chunk_ptr held;
    const archive::byte_source blob = [&]() -> result<std::string_view> {
      held = blob_.pop();
      if (!held) {
        ARCA_CHECK(check());
        return std::string_view();
      }
      return held->view();
    };
    ARCA_CHECK(decode(blob, [&](chunk_ptr tar) -> result<void> {
      if (to_hash_.push(tar) && to_unpack_.push(std::move(tar))) return {};
      ARCA_CHECK(check());
      return fail(errc::cancelled, "layer was given up");
    }));
    to_hash_.end();
    to_unpack_.end();
    return {};
  });
  stage([this]() -> result<void> {
    while (const chunk_ptr tar = to_hash_.pop()) tar_hash_.update(tar->view());
    return {};
  });
  stage([this]() -> result<void> { return unpack([this] { return to_unpack_.pop(); }); });
}

result<void> layer_pipeline::feed(std::string_view bytes) {
  fed_ += bytes.size();
  if (fed_ > limits_.max_compressed || (expected_size_ > 0 && fed_ > expected_size_))
    cancel({errc::invalid_argument, "layer is longer than its size says: more than " +
                                        std::to_string(expected_size_ > 0 ? expected_size_ : limits_.max_compressed) +
                                        " bytes"});
  ARCA_CHECK(check());
  while (!bytes.empty()) {
    if (filling_ && filling_->size == filling_->room) {
      if (threads_.empty()) start_threads();
      if (!blob_.push(std::move(filling_))) {
        ARCA_CHECK(check());
        return fail(errc::cancelled, "layer was given up");
      }
      filling_.reset();
    }
    if (!filling_) filling_ = pool_->take();
    const size_t n = std::min(bytes.size(), filling_->room - filling_->size);
    std::memcpy(filling_->bytes + filling_->size, bytes.data(), n);
    filling_->size += n;
    bytes.remove_prefix(n);
  }
  return {};
}

result<pipeline_result> layer_pipeline::finish() {
  if (expected_size_ > 0 && fed_ != expected_size_)
    cancel({errc::invalid_argument,
            "unexpected EOF: layer has " + std::to_string(fed_) + " of " + std::to_string(expected_size_) + " bytes"});
  if (threads_.empty()) {
    ARCA_CHECK(check());
    ARCA_CHECK(run_here());
  } else {
    if (filling_) blob_.push(std::move(filling_));
    filling_.reset();
    blob_.end();
    join();
    ARCA_CHECK(check());
  }
  pool_.reset();  // many layers may be finished and wait for their commit
  out_.diff_id = "sha256:" + tar_hash_.hex();
  out_.blob_digest = out_.compressed ? "sha256:" + blob_hash_.hex() : out_.diff_id;
  out_.blob_size = fed_;
  return std::move(out_);
}

result<void> layer_pipeline::run_here() {
  // One chunk at a time: the decoder is asked for the next only when the extractor wants it.
  std::vector<chunk_ptr> decoded_chunks;
  uint64_t held = 0;
  bool given = false;
  const archive::byte_source blob = [&]() -> result<std::string_view> {
    if (given || !filling_) return std::string_view();
    given = true;
    return filling_->view();
  };
  // Small in, but perhaps big out (a bomb): beyond a few MiB the threads take over.
  ARCA_CHECK(decode(blob, [&](chunk_ptr tar) -> result<void> {
    held += tar->size;
    if (threads_.empty() && held <= (4u << 20)) {
      decoded_chunks.push_back(std::move(tar));
      return {};
    }
    if (threads_.empty()) {
      threads_.emplace_back([this] {
        if (auto done = unpack([this] { return to_unpack_.pop(); }); !done) cancel(done.error());
      });
      for (auto& one : decoded_chunks) {
        tar_hash_.update(one->view());
        if (!to_unpack_.push(std::move(one))) return check();
      }
      decoded_chunks.clear();
    }
    tar_hash_.update(tar->view());
    if (!to_unpack_.push(std::move(tar))) return check();
    return {};
  }));
  if (!threads_.empty()) {
    to_unpack_.end();
    join();
    return check();
  }
  size_t next = 0;
  return unpack([&]() -> chunk_ptr {
    if (next == decoded_chunks.size()) return nullptr;
    tar_hash_.update(decoded_chunks[next]->view());
    return std::move(decoded_chunks[next++]);
  });
}

result<void> layer_pipeline::decode(const archive::byte_source& blob, const sink& out) {
  std::string head;
  while (head.size() < 6) {
    ARCA_TRY(piece, blob());
    if (piece.empty()) break;
    head += piece;
  }
  const auto kind = archive::detect_compression(head);
  out_.compressed = kind != archive::compression::none;
  bool head_given = false;
  const archive::byte_source source = [&]() -> result<std::string_view> {
    if (!head_given) {
      head_given = true;
      if (out_.compressed) blob_hash_.update(head);
      consumed_ += head.size();
      return std::string_view(head);
    }
    ARCA_TRY(piece, blob());
    if (out_.compressed) blob_hash_.update(piece);
    consumed_ += piece.size();
    return piece;
  };
  const auto decompressor = out_.compressed ? make_decoder(kind, source) : nullptr;
  std::string_view plain;
  for (;;) {
    chunk_ptr tar = pool_->take();
    while (tar->size < tar->room) {
      size_t n = 0;
      if (decompressor) {
        ARCA_TRY(got, decompressor->read(tar->bytes + tar->size, tar->room - tar->size));
        n = got;
      } else {
        if (plain.empty()) {
          ARCA_TRY(piece, source());
          plain = piece;
        }
        n = std::min(plain.size(), tar->room - tar->size);
        if (n == 0) break;
        std::memcpy(tar->bytes + tar->size, plain.data(), n);
        plain.remove_prefix(n);
      }
      if (n == 0) break;
      tar->size += n;
    }
    if (tar->size == 0) break;
    out_.tar_size += tar->size;
    if (out_.tar_size > limits_.max_tar)
      return fail(errc::invalid_argument, "layer has more than " + std::to_string(limits_.max_tar) + " bytes");
    if (out_.tar_size > limits_.ratio_from && out_.tar_size / std::max<uint64_t>(consumed_, 1) > limits_.max_ratio)
      return fail(errc::invalid_argument, "layer expands more than " + std::to_string(limits_.max_ratio) + " times");
    ARCA_CHECK(out(std::move(tar)));
  }
  // The decoder may have stopped at the end of the compressed data: what follows belongs to the blob's digest.
  for (;;) {
    ARCA_TRY(rest, source());
    if (rest.empty()) return {};
  }
}

result<void> layer_pipeline::unpack(const std::function<chunk_ptr()>& next) {
  const std::string diff = folder_ + "/diff", replaced = folder_ + "/replaced";
  if (::mkdir(diff.c_str(), 0755) != 0 || ::chmod(diff.c_str(), 0755) != 0) return fail_errno("mkdir " + diff);
  ARCA_TRY(tree, fs::open(diff, O_RDONLY | O_DIRECTORY));
  ARCA_TRY(log_file, fs::open(folder_ + "/headers.zst", O_WRONLY | O_CREAT | O_EXCL, 0600));
  tar_log_writer log(std::move(log_file));
  unique_fd kept;

  archive::extract_options options;
  options.mode = archive::extract_mode::layer;
  options.limits = limits_.extract;
  options.observer.on_payload = [&](const archive::payload_range& range) { return log.payload(range); };
  options.observer.on_replaced = [&](int parent, const std::string& name, std::string_view path) -> result<void> {
    if (!kept) {
      if (::mkdir(replaced.c_str(), 0700) != 0) return fail_errno("mkdir " + replaced);
      ARCA_TRY(opened, fs::open(replaced, O_RDONLY | O_DIRECTORY));
      kept = std::move(opened);
    }
    const std::string index = std::to_string(out_.replaced.size());
    if (::renameat(parent, name.c_str(), kept.get(), index.c_str()) != 0) return fail_errno("keep replaced file");
    out_.replaced.push_back({std::string(path), log.files()});
    return {};
  };
  chunk_ptr held;
  const archive::byte_source source = [&]() -> result<std::string_view> {
    if (held) unpacked_ += held->size;
    held = next();
    if (!held) {
      ARCA_CHECK(check());
      return std::string_view();
    }
    ARCA_CHECK(log.add(held));
    return held->view();
  };
  ARCA_TRY(done, archive::extract(tree.get(), source, options));
  out_.tree = done;
  return log.finish();
}

}  // namespace arca::images
