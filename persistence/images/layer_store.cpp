#include "persistence/images/layer_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>

#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/layer_meta.hpp"
#include "persistence/images/layer_pipeline.hpp"

namespace arca::images {
namespace {

constexpr std::string_view temporary_prefix = "tmp-";

result<std::vector<std::string>> list_folder(const std::string& path) {
  struct close_dir {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  const std::unique_ptr<DIR, close_dir> dir(::opendir(path.c_str()));
  if (!dir) return fail_errno("list " + path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) names.emplace_back(entry->d_name);
  return names;
}

void remove_quietly(const std::string& path) {
  if (auto removed = fs::remove_tree(path); !removed)
    log::warn("cannot remove", log::kv("path", path), log::kv("error", removed.error().message()));
}

/// A layer's tar from its folder, checked against its diff id.
result<void> read_checked(const std::string& folder, const layer_meta& meta, const archive::byte_sink& sink) {
  ARCA_TRY(log_file, fs::open(folder + "/headers.zst", O_RDONLY));
  ARCA_TRY(tree, fs::open(folder + "/diff", O_RDONLY | O_DIRECTORY));
  unique_fd replaced;
  if (!meta.replaced.empty()) {
    ARCA_TRY(opened, fs::open(folder + "/replaced", O_RDONLY | O_DIRECTORY));
    replaced = std::move(opened);
  }
  sha256 hash;
  ARCA_CHECK(reassemble(log_file.get(), tree.get(), replaced.get(), meta.replaced,
                        [&](std::string_view bytes) -> result<void> {
                          hash.update(bytes);
                          return sink(bytes);
                        }));
  if (const std::string found = "sha256:" + hash.hex(); found != meta.info.diff_id)
    return fail(errc::internal, "layer " + meta.info.diff_id + " was changed on disk: its digest is " + found);
  return {};
}

}  // namespace

bool is_digest(std::string_view text) {
  return text.size() == 71 && starts_with(text, "sha256:") &&
         text.substr(7).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string hex_of(std::string_view digest) {
  return std::string(digest.substr(digest.find(':') + 1));
}

std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> out;
  for (const auto& diff : diff_ids) out.push_back(out.empty() ? diff : digest_of(out.back() + " " + diff));
  return out;
}

// ---- layer_writer

struct layer_writer::impl {
  impl(layer_store& s, std::string t, layer_expectation e)
      : store(s),
        temporary(std::move(t)),
        expected(std::move(e)),
        pipeline(std::make_unique<layer_pipeline>(temporary, s.limits_, expected.blob_size)) {}
  layer_store& store;
  const std::string temporary;  // its folder
  const layer_expectation expected;
  std::unique_ptr<layer_pipeline> pipeline;
  layer_meta meta;
  bool finished = false, published = false;
};

layer_writer::layer_writer(std::unique_ptr<impl> self) : self_(std::move(self)) {}

layer_writer::~layer_writer() {
  self_->pipeline.reset();  // ends the threads
  if (!self_->published) remove_quietly(self_->temporary);
}

result<void> layer_writer::feed(std::string_view bytes) {
  return self_->pipeline->feed(bytes);
}
uint64_t layer_writer::unpacked() const noexcept {
  return self_->pipeline->unpacked();
}
uint64_t layer_writer::consumed() const noexcept {
  return self_->pipeline->consumed();
}
const layer_info& layer_writer::info() const noexcept {
  return self_->meta.info;
}
void layer_writer::cancel() noexcept {
  self_->pipeline->cancel({errc::cancelled, "layer was given up"});
}

result<void> layer_writer::finish() {
  ARCA_TRY(done, self_->pipeline->finish());
  const auto& expected = self_->expected;
  if (!expected.blob_digest.empty() && done.blob_digest != expected.blob_digest)
    return fail(errc::invalid_argument, "filesystem layer verification failed for digest " + expected.blob_digest);
  if (!expected.diff_id.empty() && done.diff_id != expected.diff_id)
    return fail(errc::invalid_argument, "layers from manifest don't match image configuration: " + done.diff_id +
                                            " is not " + expected.diff_id);
  auto& info = self_->meta.info;
  info.diff_id = done.diff_id;
  info.size = done.tree.size;
  info.tar_size = done.tar_size;
  if (done.compressed) {
    info.blob_digest = done.blob_digest;
    info.blob_size = done.blob_size;
    info.blob_media_type = expected.blob_media_type;
  }
  if (done.tree.dropped > 0)
    log::warn("layer brought overlay attributes or 0/0 devices: left out", log::kv("diff_id", done.diff_id),
              log::kv("count", static_cast<int64_t>(done.tree.dropped)));
  self_->meta.replaced = std::move(done.replaced);
  self_->finished = true;
  return {};
}

result<layer_info> layer_writer::commit(const std::string& chain_id, bool durable) {
  if (!self_->finished || self_->published) return fail(errc::internal, "layer is not finished");
  if (!is_digest(chain_id)) return fail(errc::invalid_argument, "invalid chain id " + go_quote(chain_id));
  auto& meta = self_->meta;
  meta.info.chain_id = chain_id;
  meta.boot_id = current_boot_id();
  const std::string file = self_->temporary + "/meta.json";
  if (durable) {
    ARCA_TRY(folder, fs::open(self_->temporary, O_RDONLY | O_DIRECTORY));
    if (::syncfs(folder.get()) != 0) return fail_errno("syncfs " + self_->temporary);
    meta.synced = true;
  }
  ARCA_CHECK(fs::write_file_atomic(file, to_json(meta), 0600, durable));
  ARCA_TRY(info, self_->store.publish(meta, self_->temporary));
  if (info.diff_dir.empty()) {  // another one was first
    const auto there = self_->store.find(chain_id);
    if (!there) return fail(errc::unavailable, "layer " + chain_id + " was removed while it was committed");
    return *there;
  }
  self_->published = true;
  return info;
}

// ---- layer_store

result<std::unique_ptr<layer_store>> layer_store::open(std::string folder, layer_limits limits) {
  ARCA_CHECK(fs::make_dirs(folder, 0700));
  std::unique_ptr<layer_store> store(new layer_store(std::move(folder), limits));
  ARCA_CHECK(store->scan());
  return store;
}

std::string layer_store::path_of(const std::string& chain_id) const {
  return folder_ + "/" + hex_of(chain_id);
}

result<void> layer_store::scan() {
  ARCA_TRY(names, list_folder(folder_));
  const std::string boot_id = current_boot_id();
  for (const auto& name : names) {
    if (starts_with(name, temporary_prefix)) {
      log::info("removing a layer that was not finished", log::kv("path", folder_ + "/" + name));
      remove_quietly(folder_ + "/" + name);
    } else if (is_digest("sha256:" + name)) {
      take_up(name, boot_id);
    }
  }
  return {};
}

void layer_store::take_up(const std::string& name, const std::string& boot_id) {
  const std::string path = folder_ + "/" + name;
  const auto load = [&]() -> result<layer_meta> {
    ARCA_TRY(text, fs::read_file(path + "/meta.json"));
    ARCA_TRY(meta, parse_layer_meta(text));
    if (hex_of(meta.info.chain_id) != name) return fail(errc::internal, "meta.json belongs to another layer");
    struct stat st {};
    if (::lstat((path + "/diff").c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return fail_errno("diff");
    ARCA_TRY(parts, fs::list(path));
    for (const auto& part : parts)
      if (starts_with(part, "init-")) remove_quietly(path + "/" + part);  // an unfinished init_layer
    // Unpacked before the host went down, and nobody knows whether it reached the disk.
    if (!meta.synced && meta.boot_id != boot_id)
      ARCA_CHECK(read_checked(path, meta, [](std::string_view) -> result<void> { return {}; }));
    return std::move(meta);
  };
  auto meta = load();
  if (!meta) {
    const std::string aside = folder_ + "/broken-" + name + "-" + random_hex(4);
    std::rename(path.c_str(), aside.c_str());
    log::error("layer is damaged: set aside", log::kv("path", path), log::kv("kept_as", aside),
               log::kv("error", meta.error().message()));
    return;
  }
  meta->info.diff_dir = path + "/diff";
  const std::string chain = meta->info.chain_id;
  layers_[chain] = {std::move(meta->info), meta->synced};
}

std::optional<layer_info> layer_store::find(const std::string& chain_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(chain_id);
  if (found == layers_.end()) return std::nullopt;
  return found->second.info;
}

std::optional<layer_info> layer_store::find_diff(const std::string& diff_id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [chain, layer] : layers_)
    if (layer.info.diff_id == diff_id) return layer.info;
  return std::nullopt;
}

std::optional<layer_info> layer_store::find_bytes(const std::string& digest) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [chain, layer] : layers_)
    if (layer.info.diff_id == digest || layer.info.blob_digest == digest) return layer.info;
  return std::nullopt;
}

bool layer_store::has_size(uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [chain, layer] : layers_)
    if (layer.info.tar_size == bytes || (!layer.info.blob_digest.empty() && layer.info.blob_size == bytes)) return true;
  return false;
}

std::vector<layer_info> layer_store::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<layer_info> out;
  for (const auto& [chain, layer] : layers_) out.push_back(layer.info);
  return out;
}

result<std::vector<std::string>> layer_store::lower_dirs(const std::vector<std::string>& diff_ids) const {
  const auto chains = chain_ids(diff_ids);
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (auto chain = chains.rbegin(); chain != chains.rend(); ++chain) {
    const auto found = layers_.find(*chain);
    if (found == layers_.end()) return fail(errc::not_found, "layer does not exist: " + *chain);
    out.push_back(found->second.info.diff_dir);
  }
  return out;
}

result<std::unique_ptr<layer_writer>> layer_store::begin(layer_expectation expected) {
  const std::string temporary = folder_ + "/" + std::string(temporary_prefix) + random_hex(8);
  if (::mkdir(temporary.c_str(), 0700) != 0) return fail_errno("mkdir " + temporary);
  return std::unique_ptr<layer_writer>(
      new layer_writer(std::make_unique<layer_writer::impl>(*this, temporary, std::move(expected))));
}

/// An info without diff_dir: the layer is there already.
result<layer_info> layer_store::publish(const layer_meta& meta, const std::string& temporary) {
  layer_info info = meta.info;
  const std::string path = path_of(info.chain_id);
  const std::lock_guard lock(mutex_);
  if (layers_.count(info.chain_id) != 0) return info;
  failpoint::reached("before-layer");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("rename " + temporary);
  failpoint::reached("layer");
  if (meta.synced) {
    ARCA_TRY(folder, fs::open(folder_, O_RDONLY | O_DIRECTORY));
    ::fsync(folder.get());
  }
  info.diff_dir = path + "/diff";
  layers_[info.chain_id] = {info, meta.synced};
  return info;
}

result<std::string> layer_store::withdraw(const std::string& chain_id) {
  std::string aside = folder_ + "/" + std::string(temporary_prefix) + "removed-" + random_hex(8);
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(chain_id);
  if (found == layers_.end()) return std::string();
  if (::rename(path_of(chain_id).c_str(), aside.c_str()) != 0 && errno != ENOENT)
    return fail_errno("remove layer " + chain_id);
  layers_.erase(found);
  failpoint::reached("layer-hidden");
  return aside;
}

result<void> layer_store::remove(const std::string& chain_id) {
  ARCA_TRY(aside, withdraw(chain_id));
  if (aside.empty()) return {};
  return fs::remove_tree(aside);
}

result<void> layer_store::read_tar(const std::string& chain_id, const archive::byte_sink& sink) const {
  if (!find(chain_id)) return fail(errc::not_found, "layer does not exist: " + chain_id);
  const std::string path = path_of(chain_id);
  ARCA_TRY(text, fs::read_file(path + "/meta.json"));
  ARCA_TRY(meta, parse_layer_meta(text));
  return read_checked(path, meta, sink);
}

result<void> layer_store::sync() {
  std::vector<std::string> pending;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [chain, layer] : layers_)
      if (!layer.synced) pending.push_back(chain);
  }
  if (pending.empty()) return {};
  ARCA_TRY(folder, fs::open(folder_, O_RDONLY | O_DIRECTORY));
  if (::syncfs(folder.get()) != 0) return fail_errno("syncfs " + folder_);
  for (const auto& chain : pending) {
    const std::string file = path_of(chain) + "/meta.json";
    const std::lock_guard lock(mutex_);  // against remove()
    const auto found = layers_.find(chain);
    if (found == layers_.end()) continue;
    ARCA_TRY(text, fs::read_file(file));
    ARCA_TRY(meta, parse_layer_meta(text));
    meta.synced = true;
    ARCA_CHECK(fs::write_file_atomic(file, to_json(meta), 0600));
    found->second.synced = true;
  }
  return {};
}

}  // namespace arca::images
