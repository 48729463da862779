// Copy-up with owners, devices and capabilities: needs root.
#include "actors/volume/copy_up.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "persistence/base/unique_fd.hpp"

using namespace arca;

namespace {
struct folders {
  std::string base = "/tmp/net-copy-XXXXXX";
  unique_fd root, volume;
  folders() {
    REQUIRE(::mkdtemp(base.data()) != nullptr);
    REQUIRE(fs::make_dirs(base + "/root/data/sub", 0755));
    REQUIRE(fs::make_dirs(base + "/volume", 0755));
    root.reset(::open((base + "/root").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    volume.reset(::open((base + "/volume").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~folders() { (void)fs::remove_tree(base); }
  std::string in(const std::string& path) const { return base + "/root/data/" + path; }
  std::string out(const std::string& path) const { return base + "/volume/" + path; }
};

struct stat status(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) FAIL("missing: " << path);
  return st;
}
void same(const std::string& a, const std::string& b) {
  const auto x = status(a), y = status(b);
  CHECK(x.st_mode == y.st_mode);
  CHECK(x.st_uid == y.st_uid);
  CHECK(x.st_gid == y.st_gid);
  CHECK(x.st_rdev == y.st_rdev);
  CHECK(x.st_mtim.tv_sec == y.st_mtim.tv_sec);
  CHECK(x.st_mtim.tv_nsec == y.st_mtim.tv_nsec);
  if (!S_ISDIR(x.st_mode)) CHECK(x.st_size == y.st_size);
}
}  // namespace

TEST_CASE("a folder of the image becomes the first content of a volume") {
  folders f;
  REQUIRE(fs::write_file_atomic(f.in("plain"), "hello", 0640));
  REQUIRE(fs::write_file_atomic(f.in("setuid"), "x"));
  REQUIRE(::chown(f.in("setuid").c_str(), 4'000'000'000u, 12345) == 0);
  REQUIRE(::chmod(f.in("setuid").c_str(), 06755) == 0);
  const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};  // cap_net_bind_service+ep, revision 2
  REQUIRE(::setxattr(f.in("plain").c_str(), "security.capability", capability, sizeof capability, 0) == 0);
  REQUIRE(::setxattr(f.in("plain").c_str(), "user.note", "n\0te", 4, 0) == 0);
  REQUIRE(::link(f.in("plain").c_str(), f.in("sub/hard").c_str()) == 0);
  REQUIRE(::symlink("../../../etc/passwd", f.in("sub/soft").c_str()) == 0);
  REQUIRE(::lchown(f.in("sub/soft").c_str(), 7, 8) == 0);
  REQUIRE(::mkfifo(f.in("fifo").c_str(), 0622) == 0);
  REQUIRE(::mknod(f.in("null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0);
  {
    const unique_fd sparse(::open(f.in("sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::pwrite(sparse.get(), "end", 3, 64 << 20) == 3);
    REQUIRE(::ftruncate(sparse.get(), 128 << 20) == 0);
  }
  const timespec old[2] = {{1, 2}, {1'000'000'000, 123'456'789}};
  REQUIRE(::utimensat(AT_FDCWD, f.in("sub").c_str(), old, 0) == 0);
  REQUIRE(::utimensat(AT_FDCWD, f.in("").c_str(), old, 0) == 0);
  REQUIRE(::chown(f.in("").c_str(), 101, 102) == 0);
  REQUIRE(::chmod(f.in("").c_str(), 01770) == 0);

  const auto done = copy_up(f.root.get(), "/data", f.volume.get());
  if (!done) FAIL(done.error().message());
  CHECK(*done);
  for (const char* path : {"", "plain", "setuid", "sub", "sub/hard", "sub/soft", "fifo", "null", "sparse"})
    same(f.in(path), f.out(path));
  CHECK(status(f.out("plain")).st_ino == status(f.out("sub/hard")).st_ino);
  CHECK(*fs::read_file(f.out("plain")) == "hello");
  char value[32];
  CHECK(::getxattr(f.out("plain").c_str(), "security.capability", value, sizeof value) == sizeof capability);
  CHECK(::getxattr(f.out("plain").c_str(), "user.note", value, sizeof value) == 4);
  CHECK(status(f.out("sparse")).st_blocks * 512 < 1 << 20);
  const unique_fd sparse(::open(f.out("sparse").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(::pread(sparse.get(), value, 4, 64 << 20) == 4);
  CHECK(std::string(value, 3) == "end");

  CHECK_FALSE(*copy_up(f.root.get(), "/data", f.volume.get()));  // not empty any more
}

TEST_CASE("what is not copied") {
  folders f;
  CHECK_FALSE(*copy_up(f.root.get(), "/nosuch", f.volume.get()));
  REQUIRE(fs::write_file_atomic(f.in("file"), "x"));
  CHECK_FALSE(*copy_up(f.root.get(), "/data/file", f.volume.get()));
  // Links lead where they would in the container: the host's /etc is out of reach, the image's is copied.
  REQUIRE(::symlink("/etc", f.in("link").c_str()) == 0);
  CHECK_FALSE(*copy_up(f.root.get(), "/data/link", f.volume.get()));
  REQUIRE(::symlink("../../../../../../etc", f.in("up").c_str()) == 0);
  CHECK_FALSE(*copy_up(f.root.get(), "/data/up", f.volume.get()));
  REQUIRE(fs::make_dirs(f.base + "/root/etc"));
  REQUIRE(fs::write_file_atomic(f.base + "/root/etc/marker", "m"));
  CHECK(*copy_up(f.root.get(), "/data/up", f.volume.get()));
  CHECK(*fs::read_file(f.out("marker")) == "m");
}
