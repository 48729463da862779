#include "persistence/images/tar_log.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>

#include "persistence/archive/syscalls.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/images/decoder.hpp"

namespace arca::images {
namespace {

constexpr std::string_view magic = "arca-tar-1\n";
constexpr size_t kept_pieces = 4;  // behind the newest one: content may still be reported in them
constexpr uint64_t max_path = 8192;

}  // namespace

struct tar_log_writer::encoder {
  struct free_context {
    void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
  };
  std::unique_ptr<ZSTD_CCtx, free_context> context{ZSTD_createCCtx()};
  std::string in, out;
  encoder() {
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
    out.resize(ZSTD_CStreamOutSize());
  }

  result<void> compress(int fd, ZSTD_EndDirective how) {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    for (;;) {
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      const size_t left = ZSTD_compressStream2(context.get(), &to, &from, how);
      if (ZSTD_isError(left) != 0) return fail(errc::internal, std::string("zstd: ") + ZSTD_getErrorName(left));
      ARCA_CHECK(fs::write_all(fd, std::string_view(out.data(), to.pos)));
      if (how == ZSTD_e_end ? left == 0 : from.pos == from.size) break;
    }
    in.clear();
    return {};
  }
  void number(uint64_t n) {
    for (; n >= 0x80; n >>= 7) in += static_cast<char>(n | 0x80);
    in += static_cast<char>(n);
  }
};

tar_log_writer::tar_log_writer(unique_fd out) : out_(std::move(out)), encoder_(std::make_unique<encoder>()) {}
tar_log_writer::~tar_log_writer() = default;

result<void> tar_log_writer::raw_until(uint64_t position) {
  if (position == cursor_) return {};
  ARCA_CHECK(flush_part());
  encoder_->in += 'R';
  encoder_->number(position - cursor_);
  for (const auto& [start, piece] : window_) {
    const std::string_view bytes = piece->view();
    if (start + bytes.size() <= cursor_) continue;
    if (start >= position) break;
    const uint64_t from = cursor_ - start, to = std::min<uint64_t>(position - start, bytes.size());
    encoder_->in += bytes.substr(from, to - from);
    cursor_ = start + to;
    if (encoder_->in.size() > (128u << 10)) ARCA_CHECK(encoder_->compress(out_.get(), ZSTD_e_continue));
  }
  return {};
}

result<void> tar_log_writer::flush_part() {
  if (part_length_ == 0) return {};
  encoder_->in += 'D';
  encoder_->number(part_offset_);
  encoder_->number(part_length_);
  part_length_ = 0;
  return {};
}

result<void> tar_log_writer::add(chunk_ptr piece) {
  if (end_ == 0) ARCA_CHECK(fs::write_all(out_.get(), magic));
  const uint64_t size = piece->size;
  window_.emplace_back(end_, std::move(piece));
  end_ += size;
  // What the parser has left behind without calling it content is raw.
  while (window_.size() > kept_pieces) {
    const uint64_t oldest_end = window_.front().first + window_.front().second->size;
    if (cursor_ < oldest_end) ARCA_CHECK(raw_until(oldest_end));
    window_.pop_front();
  }
  return {};
}

result<void> tar_log_writer::payload(const archive::payload_range& range) {
  if (range.stream_offset < cursor_ || range.stream_offset + range.length > end_)
    return fail(errc::internal, "tar log: content is reported out of order");
  ARCA_CHECK(raw_until(range.stream_offset));
  if (!in_file_ || entry_ != range.entry) {
    ARCA_CHECK(flush_part());
    encoder_->in += 'F';
    encoder_->number(range.path.size());
    encoder_->in += range.path;
    in_file_ = true;
    entry_ = range.entry;
    ++files_;
  }
  if (part_length_ > 0 && part_offset_ + part_length_ != range.file_offset) ARCA_CHECK(flush_part());
  if (part_length_ == 0) part_offset_ = range.file_offset;
  part_length_ += range.length;
  cursor_ = range.stream_offset + range.length;
  if (encoder_->in.size() > (128u << 10)) return encoder_->compress(out_.get(), ZSTD_e_continue);
  return {};
}

result<void> tar_log_writer::finish() {
  if (end_ == 0) ARCA_CHECK(fs::write_all(out_.get(), magic));
  ARCA_CHECK(raw_until(end_));
  ARCA_CHECK(flush_part());
  encoder_->in += 'E';
  window_.clear();
  return encoder_->compress(out_.get(), ZSTD_e_end);
}

namespace {

/// Reads records; every length is checked before it is believed.
class log_reader {
 public:
  explicit log_reader(int log) : source_(decoded(archive::source_of_fd(log))) {}

  result<char> byte() {
    ARCA_CHECK(fill());
    if (piece_.empty()) return fail(errc::internal, "tar log: unexpected end");
    const char c = piece_.front();
    piece_.remove_prefix(1);
    return c;
  }
  result<uint64_t> number() {
    uint64_t n = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      ARCA_TRY(c, byte());
      n |= static_cast<uint64_t>(c & 0x7f) << shift;
      if ((c & 0x80) == 0) return n;
    }
    return fail(errc::internal, "tar log: bad number");
  }
  result<std::string> text(uint64_t size) {
    if (size > max_path) return fail(errc::internal, "tar log: bad path");
    std::string out;
    ARCA_CHECK(raw(size, [&](std::string_view part) -> result<void> {
      out += part;
      return {};
    }));
    return out;
  }
  result<void> raw(uint64_t size, const archive::byte_sink& sink) {
    while (size > 0) {
      ARCA_CHECK(fill());
      if (piece_.empty()) return fail(errc::internal, "tar log: unexpected end");
      const std::string_view part = piece_.substr(0, size);
      ARCA_CHECK(sink(part));
      size -= part.size();
      piece_.remove_prefix(part.size());
    }
    return {};
  }

 private:
  result<void> fill() {
    if (!piece_.empty()) return {};
    ARCA_TRY(next, source_());
    piece_ = next;
    return {};
  }
  archive::byte_source source_;
  std::string_view piece_;
};

}  // namespace

result<void> reassemble(int log, int tree, int replaced_folder, const std::vector<replaced_file>& replaced,
                        const archive::byte_sink& sink) {
  std::unordered_map<std::string, std::vector<size_t>> by_path;
  for (size_t i = 0; i < replaced.size(); ++i) by_path[replaced[i].path].push_back(i);

  std::string head(magic.size(), '\0');
  if (::read(log, head.data(), head.size()) != static_cast<ssize_t>(head.size()) || head != magic)
    return fail(errc::internal, "tar log: bad header");
  log_reader in(log);
  std::string buffer(256u << 10, '\0');
  unique_fd file;
  std::string path;
  uint64_t files = 0;
  for (;;) {
    ARCA_TRY(kind, in.byte());
    if (kind == 'E') return {};
    if (kind == 'R') {
      ARCA_TRY(size, in.number());
      ARCA_CHECK(in.raw(size, sink));
    } else if (kind == 'F') {
      ARCA_TRY(size, in.number());
      ARCA_TRY(name, in.text(size));
      path = name;
      file.reset();
      // The oldest replaced file of this path that was replaced after this point; else the one in the tree.
      if (const auto found = by_path.find(path); found != by_path.end())
        for (const size_t index : found->second)
          if (replaced[index].before > files) {
            file.reset(::openat(replaced_folder, std::to_string(index).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
            if (!file) return fail_errno("open replaced file");
            break;
          }
      if (!file) file = archive::open_no_links(tree, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (!file) return fail_errno("open " + path);
      ++files;
    } else if (kind == 'D') {
      ARCA_TRY(offset, in.number());
      ARCA_TRY(length, in.number());
      while (length > 0) {
        const ssize_t n =
            ::pread(file.get(), buffer.data(), std::min<uint64_t>(length, buffer.size()), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno("read " + path);
        if (n == 0) return fail(errc::internal, path + " is shorter than it was in the layer");
        ARCA_CHECK(sink(std::string_view(buffer.data(), static_cast<size_t>(n))));
        offset += static_cast<uint64_t>(n);
        length -= static_cast<uint64_t>(n);
      }
    } else {
      return fail(errc::internal, "tar log: bad record");
    }
  }
}

}  // namespace arca::images
