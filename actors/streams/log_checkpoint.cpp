#include "actors/streams/log_checkpoint.hpp"

#include <fcntl.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "persistence/base/fs.hpp"

namespace arca {

namespace {

constexpr uint32_t magic = 0x314b4341;  // "ACK1"
constexpr size_t max_line = 16u << 10;
constexpr off_t slot_size = 40u << 10;

/// Little endian, as it lies in memory; two slots are written in turn, so that one torn by a kill leaves the other.
struct slot_header {
  uint32_t magic_number = magic;
  uint32_t crc = 0;  ///< of everything behind it, bytes of the lines included
  uint64_t counter = 0;
  uint64_t next_sequence = 0, skip = 0, inode = 0, size = 0;
  int64_t part_time[2] = {};
  uint32_t length[2] = {};
  uint32_t continued[2] = {};
};
constexpr size_t crc_from = offsetof(slot_header, counter);
static_assert(sizeof(slot_header) == 80 && sizeof(slot_header) + 2 * max_line <= slot_size);

uint32_t crc_of(const char* data, size_t size) {
  return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(data), size));
}

}  // namespace

std::optional<log_position> decode_checkpoint(std::string_view slot, uint64_t& counter) {
  slot_header h;
  if (slot.size() < sizeof h) return std::nullopt;
  std::memcpy(&h, slot.data(), sizeof h);
  if (h.magic_number != magic || h.length[0] > max_line || h.length[1] > max_line) return std::nullopt;
  const size_t size = sizeof h + h.length[0] + h.length[1];
  if (slot.size() < size || crc_of(slot.data() + crc_from, size - crc_from) != h.crc) return std::nullopt;
  counter = h.counter;
  log_position p;
  p.next_sequence = h.next_sequence;
  p.skip = h.skip;
  p.inode = h.inode;
  p.size = h.size;
  slot.remove_prefix(sizeof h);
  for (size_t i = 0; i < 2; ++i) {
    p.lines[i].bytes = slot.substr(0, h.length[i]);
    slot.remove_prefix(h.length[i]);
    p.lines[i].part_time = h.part_time[i];
    p.lines[i].continued = h.continued[i] != 0;
  }
  return p;
}

result<checkpoint_file> checkpoint_file::open(const std::string& path) {
  checkpoint_file file;
  ARCA_TRY(fd, fs::open(path, O_RDWR | O_CREAT, 0600));
  file.fd_ = std::move(fd);
  std::string slot(static_cast<size_t>(slot_size), '\0');
  for (off_t i = 0; i < 2; ++i) {
    const auto n = ::pread(file.fd_.get(), slot.data(), slot.size(), i * slot_size);
    if (n < 0) return fail_errno("read " + path);
    uint64_t counter = 0;
    auto position = decode_checkpoint({slot.data(), static_cast<size_t>(n)}, counter);
    if (!position || (file.loaded_ && counter < file.counter_)) continue;
    file.counter_ = counter;
    file.loaded_ = std::move(position);
  }
  return file;
}

result<void> checkpoint_file::save(const log_position& position) {
  slot_header h;
  h.counter = ++counter_;
  h.next_sequence = position.next_sequence;
  h.skip = position.skip;
  h.inode = position.inode;
  h.size = position.size;
  scratch_.assign(reinterpret_cast<const char*>(&h), sizeof h);
  for (size_t i = 0; i < 2; ++i) {
    const auto& line = position.lines[i];
    h.part_time[i] = line.part_time;
    h.length[i] = static_cast<uint32_t>(line.bytes.size());
    h.continued[i] = line.continued ? 1 : 0;
    scratch_ += line.bytes;
  }
  std::memcpy(scratch_.data(), &h, sizeof h);
  h.crc = crc_of(scratch_.data() + crc_from, scratch_.size() - crc_from);
  std::memcpy(scratch_.data() + offsetof(slot_header, crc), &h.crc, sizeof h.crc);
  const off_t at = static_cast<off_t>(counter_ & 1) * slot_size;
  ssize_t n = 0;
  do {
    n = ::pwrite(fd_.get(), scratch_.data(), scratch_.size(), at);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(scratch_.size())) return fail_errno("write the log's checkpoint");
  return {};
}

}  // namespace arca
