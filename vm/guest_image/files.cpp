#include "vm/guest_image/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "persistence/base/fs.hpp"
#include "persistence/base/sha256.hpp"

namespace arca::vm {

file_digest digest_of_data(std::string_view data) {
  sha256 sum;
  sum.update(data);
  return {data.size(), sum.hex()};
}

result<file_digest> digest_of_file(const std::string& path) {
  ARCA_TRY(fd, fs::open(path, O_RDONLY));
  sha256 sum;
  file_digest out;
  std::string piece(1u << 20, '\0');
  for (;;) {
    const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path);
    if (n == 0) break;
    sum.update(piece.data(), static_cast<size_t>(n));
    out.size += static_cast<uint64_t>(n);
  }
  out.sha256 = sum.hex();
  return out;
}

result<file_digest> write_durable(const std::string& path, std::string_view data) {
  ARCA_TRY(fd, fs::open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  if (auto written = fs::write_all(fd.get(), data); !written) return fail(written.error().wrap(path));
  if (::fchmod(fd.get(), 0644) != 0) return fail_errno("chmod " + path);  // QEMU is another user, whatever the umask
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path);
  return digest_of_data(data);
}

result<void> sync_folder(const std::string& path) {
  ARCA_TRY(fd, fs::open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path);
  return {};
}

}  // namespace arca::vm
