#include "guest/spool_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "persistence/base/fs.hpp"

namespace arca::guest {

spool_file::~spool_file() {
  if (file_) unlink(path_.c_str());
}

result<void> spool_file::append(std::string_view bytes) {
  if (!file_) {
    ARCA_TRY(file, fs::open(path_, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW));
    file_ = std::move(file);
  }
  for (uint64_t at = end_; !bytes.empty();) {
    const ssize_t n = pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write " + path_);
    at += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
    if (bytes.empty()) end_ = at;
  }
  return {};
}

result<size_t> spool_file::peek(char* into, size_t size) const {
  size = std::min<uint64_t>(size, this->size());
  size_t done = 0;
  while (done < size) {
    const ssize_t n = pread(file_.get(), into + done, size - done, static_cast<off_t>(begin_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path_);
    if (n == 0) return fail(errc::internal, path_ + " is shorter than it was");
    done += static_cast<size_t>(n);
  }
  return done;
}

void spool_file::drop_front(uint64_t size) {
  begin_ += std::min(size, this->size());
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (file_ && ftruncate(file_.get(), 0) != 0) return;  // the space comes back with the file
  } else {
    fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(begin_));
  }
}

}  // namespace arca::guest
