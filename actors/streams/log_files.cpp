#include "actors/streams/log_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "persistence/base/fs.hpp"

namespace arca {

namespace {
constexpr uint64_t first_generation = 1u << 20;  // the rotated files that are already there lie below
constexpr uint64_t keep_bytes = 64u << 20;
constexpr size_t keep_files = 256;

uint64_t size_of(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

shared_fd open_shared(const std::string& path) {
  auto fd = fs::open(path, O_RDONLY);
  return fd ? std::make_shared<const unique_fd>(std::move(*fd)) : nullptr;
}
}  // namespace

log_files::log_files(std::string path, int max_file)
    : path_(std::move(path)), max_file_(static_cast<uint64_t>(std::max(1, max_file))), current_(first_generation) {}

std::string log_files::name(uint64_t generation) const {
  const auto age = current_.load(std::memory_order_relaxed) - generation;
  return age == 0 ? path_ : path_ + '.' + std::to_string(age);
}

result<unique_fd> log_files::open_current() {
  const std::lock_guard guard(lock_);
  close_gaps();
  return fs::open(path_, O_RDWR | O_APPEND | O_CREAT, 0640);
}

/// Each rotation that a kill cut short has left a number free. They would add up and push old files out too early.
void log_files::close_gaps() {
  uint64_t free = 1;
  for (uint64_t age = 1; age < max_file_; ++age) {
    const auto file = path_ + '.' + std::to_string(age);
    if (::access(file.c_str(), F_OK) != 0) continue;
    if (age != free && ::rename(file.c_str(), (path_ + '.' + std::to_string(free)).c_str()) != 0) return;
    ++free;
  }
}

result<unique_fd> log_files::rotate() {
  const std::lock_guard guard(lock_);
  const auto current = current_.load(std::memory_order_relaxed);
  const auto oldest = current - (max_file_ - 1);
  drop_kept();
  keep_for_followers(oldest);
  if (::unlink(name(oldest).c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + name(oldest));
  for (auto generation = oldest + 1; generation <= current; ++generation) {
    const auto from = name(generation);
    const auto to = path_ + '.' + std::to_string(current - generation + 1);
    if (::rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT) return fail_errno("rename " + from);
  }
  auto fresh = fs::open(path_, O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0640);
  if (fresh) current_.store(current + 1, std::memory_order_release);
  return fresh;
}

void log_files::keep_for_followers(uint64_t generation) {
  for (const auto& weak : followers_) {
    const auto follower = weak.lock();
    if (!follower || follower->reading.load() > generation) continue;
    if (auto fd = open_shared(name(generation))) kept_.emplace(generation, std::move(fd));
    break;
  }
}

void log_files::drop_kept() {
  std::erase_if(followers_, [](const auto& weak) { return weak.expired(); });
  uint64_t needed = UINT64_MAX, bytes = 0;
  for (const auto& weak : followers_)
    if (const auto follower = weak.lock()) needed = std::min(needed, follower->reading.load());
  kept_.erase(kept_.begin(), kept_.lower_bound(needed));
  for (const auto& [generation, fd] : kept_) bytes += size_of(fd->get());
  while (!kept_.empty() && (kept_.size() > keep_files || bytes > keep_bytes)) {
    bytes -= size_of(kept_.begin()->second->get());
    kept_.erase(kept_.begin());
  }
}

void log_files::set_live(bool live) {
  live_.store(live, std::memory_order_release);
  if (!live) notify();
}

void log_files::notify() {
  if (!followed_.load(std::memory_order_acquire)) return;
  std::vector<std::shared_ptr<log_follower>> awake;
  {
    const std::lock_guard guard(lock_);
    for (const auto& weak : followers_)
      if (auto follower = weak.lock()) awake.push_back(std::move(follower));
    if (awake.empty()) {
      followers_.clear();
      kept_.clear();
      followed_.store(false, std::memory_order_release);
    }
  }
  for (const auto& follower : awake) follower->wake();
}

std::vector<log_files::file> log_files::open_all(uint64_t from) const {
  const std::lock_guard guard(lock_);
  std::vector<file> files;
  const auto current = current_.load(std::memory_order_relaxed);
  for (auto generation = current; current - generation < max_file_; --generation) {
    auto fd = open_shared(name(generation));
    // A rotation that a kill cut short may have left a gap in the numbers, but not two.
    if (!fd && generation != current && ::access(name(generation - 1).c_str(), F_OK) != 0) break;
    if (fd) files.push_back({generation, std::move(fd)});
  }
  for (auto kept = kept_.rbegin(); kept != kept_.rend() && kept->first >= from; ++kept)
    files.push_back({kept->first, kept->second});
  std::reverse(files.begin(), files.end());
  return files;
}

log_files::file log_files::open_from(uint64_t generation) const {
  const std::lock_guard guard(lock_);
  if (const auto kept = kept_.lower_bound(generation); kept != kept_.end()) return {kept->first, kept->second};
  const auto current = current_.load(std::memory_order_relaxed);
  for (generation = std::max(generation, current - (max_file_ - 1)); generation <= current; ++generation)
    if (auto fd = open_shared(name(generation))) return {generation, std::move(fd)};
  return {};
}

void log_files::add(std::weak_ptr<log_follower> follower) {
  const std::lock_guard guard(lock_);
  std::erase_if(followers_, [](const auto& weak) { return weak.expired(); });
  followers_.push_back(std::move(follower));
  followed_.store(true, std::memory_order_release);
}

}  // namespace arca
