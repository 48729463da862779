#include "actors/streams/log_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "persistence/base/log.hpp"

namespace arca {

namespace {
constexpr size_t entry_limit = 16u << 10;  ///< Docker's copier: a longer line is split
constexpr size_t write_at = 1u << 20;
}  // namespace

log_writer::log_writer(const log_options& options, std::shared_ptr<log_files> files)
    : max_size_(options.max_size), path_(options.path), files_(std::move(files)), encoder_(options.attributes) {}

result<void> log_writer::open() {
  if (opened()) return {};
  ARCA_TRY(checkpoint, checkpoint_file::open(path_ + ".checkpoint"));
  ARCA_TRY(file, files_->open_current());
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return fail_errno("stat " + path_);
  file_ = std::move(file);
  const auto inode = static_cast<uint64_t>(st.st_ino), size = static_cast<uint64_t>(st.st_size);
  if (checkpoint.loaded()) {
    recover(*checkpoint.loaded(), inode, size);
  } else {
    position_ = {};
    cut_torn_line(size);
  }
  position_.inode = inode;
  ARCA_CHECK(checkpoint.save(position_));
  checkpoint_ = std::move(checkpoint);
  return {};
}

/// What lies behind the checkpoint was not acknowledged: it is cut off and comes again.
void log_writer::recover(const log_position& known, uint64_t inode, uint64_t size) {
  position_ = known;
  if (known.inode == inode) {
    // A shorter file: someone emptied it, as people do.
    if (size > known.size && ::ftruncate(file_.get(), static_cast<off_t>(known.size)) != 0)
      failed(errno_error("truncate", errno));
    position_.size = std::min(size, known.size);
    return;
  }
  // The kill came during a rotation: the file that the checkpoint knows has been renamed, the new one has no line yet.
  struct stat before {};
  const auto rotated = path_ + ".1";
  if (::stat(rotated.c_str(), &before) == 0 && static_cast<uint64_t>(before.st_ino) == known.inode) {
    if (static_cast<uint64_t>(before.st_size) > known.size &&
        ::truncate(rotated.c_str(), static_cast<off_t>(known.size)) != 0)
      failed(errno_error("truncate", errno));
    if (size != 0 && ::ftruncate(file_.get(), 0) != 0) failed(errno_error("truncate", errno));
    position_.size = 0;
    return;
  }
  cut_torn_line(size);
}

void log_writer::cut_torn_line(uint64_t size) {
  std::string block(64u << 10, '\0');
  uint64_t keep = size;
  while (keep > 0) {
    const auto length = std::min<uint64_t>(block.size(), keep);
    const auto n = ::pread(file_.get(), block.data(), length, static_cast<off_t>(keep - length));
    if (n != static_cast<ssize_t>(length)) break;
    const auto newline = std::string_view(block.data(), length).rfind('\n');
    if (newline != std::string_view::npos) {
      keep = keep - length + newline + 1;
      break;
    }
    keep -= length;
  }
  if (keep != size && ::ftruncate(file_.get(), static_cast<off_t>(keep)) != 0) failed(errno_error("truncate", errno));
  position_.size = keep;
}

void log_writer::close() {
  file_.reset();
  checkpoint_.reset();
}

void log_writer::append(std::span<const output_record> records, raw_buffer& scratch) {
  scratch.clear();
  for (const auto& record : records) {
    if (record.sequence < position_.next_sequence) continue;
    take(record, scratch);
  }
  write(scratch);
  save();
}

void log_writer::take(const output_record& record, raw_buffer& out) {
  auto bytes = record.bytes;
  const int64_t time = std::max<int64_t>(record.time, 0);
  // Only the record at the checkpoint can have been taken in part.
  const auto skip = record.sequence == position_.next_sequence ? std::min<uint64_t>(position_.skip, bytes.size()) : 0;
  bytes.remove_prefix(skip);
  position_.next_sequence = record.sequence;
  position_.skip = skip;
  auto& begun = position_.lines[record.stream == 2 ? 1 : 0];
  while (!bytes.empty()) {
    const size_t room = entry_limit - begun.bytes.size();
    const size_t seen = std::min(room, bytes.size());
    const auto* newline = static_cast<const char*>(std::memchr(bytes.data(), '\n', seen));
    if (newline == nullptr && seen < room) {
      if (!begun.continued) begun.part_time = time;
      begun.bytes.append(bytes);
      break;
    }
    const size_t length = newline != nullptr ? static_cast<size_t>(newline - bytes.data()) : room;
    put_entry(begun, bytes.substr(0, length), newline != nullptr, record.stream, time, out);
    const size_t used = length + (newline != nullptr ? 1 : 0);
    bytes.remove_prefix(used);
    position_.skip += used;
    if (out.size() >= write_at) write(out);
  }
  position_.next_sequence = record.sequence + 1;
  position_.skip = 0;
}

void log_writer::put_entry(open_line& begun, std::string_view rest, bool newline, int stream, int64_t time,
                           raw_buffer& out) {
  if (max_size_ > 0 && position_.size + out.size() >= static_cast<uint64_t>(max_size_)) {
    write(out);
    rotate();
  }
  if (begun.continued)
    time = begun.part_time;
  else if (!newline)
    begun.part_time = time;
  encoder_.append(out, begun.bytes, rest, newline, stream, time);
  begun.bytes.clear();
  begun.continued = !newline;
}

void log_writer::end_lines(raw_buffer& scratch) {
  scratch.clear();
  for (int stream : {1, 2}) {
    auto& begun = position_.lines[static_cast<size_t>(stream - 1)];
    if (!begun.bytes.empty()) put_entry(begun, {}, false, stream, begun.part_time, scratch);
    begun = {};
  }
  write(scratch);
  save();
}

void log_writer::restart() {
  position_.next_sequence = 1;
  position_.skip = 0;
  save();
}

void log_writer::write(raw_buffer& out) {
  auto rest = out.view();
  while (!rest.empty()) {
    const auto n = ::write(file_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      failed(errno_error("write", errno));
      // No half lines: what was written of this batch goes too.
      [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(position_.size));
      out.clear();
      return;
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  if (out.size() != 0) failing_ = false;
  position_.size += out.size();
  out.clear();
}

void log_writer::rotate() {
  save();  // names the file and its final size, and how much of the current record is in it
  auto fresh = files_->rotate();
  struct stat st {};
  if (!fresh || ::fstat(fresh->get(), &st) != 0) {
    failed(fresh ? errno_error("stat", errno) : fresh.error());
    return;
  }
  file_ = std::move(*fresh);
  position_.inode = static_cast<uint64_t>(st.st_ino);
  position_.size = 0;
  save();
}

void log_writer::save() {
  if (auto saved = checkpoint_->save(position_); !saved) failed(saved.error());
}

void log_writer::failed(const error& why) {
  if (failing_) return;
  failing_ = true;
  log::warn("container log: lines are lost", log::kv("file", path_), log::kv("error", why.message()));
}

}  // namespace arca
