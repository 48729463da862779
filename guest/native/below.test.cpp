#include "guest/native/below.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::guest::native;

namespace {
struct fixture {
  std::string top, root;
  unique_fd fd;
  fixture() {
    std::string pattern = "/tmp/arca-below-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    top = pattern;
    root = top + "/root";
    std::filesystem::create_directories(root + "/etc");
    std::filesystem::create_directories(top + "/outside");
    std::ofstream(top + "/outside/secret") << "no";
    fd.reset(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~fixture() { (void)fs::remove_tree(top); }
  void link(const std::string& target, const std::string& name) const {
    REQUIRE(symlink(target.c_str(), (root + name).c_str()) == 0);
  }
  bool is_folder(const std::string& path) const { return std::filesystem::is_directory(root + path); }
  bool is_file(const std::string& path) const { return std::filesystem::is_regular_file(root + path); }
  // Whether what was opened is what stands at `path` below the root.
  bool same(const unique_fd& opened, const std::string& path) const {
    struct stat a {};
    struct stat b {};
    return fstat(opened.get(), &a) == 0 && stat((root + path).c_str(), &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
  }
};
}  // namespace

TEST_CASE_METHOD(fixture, "mount points are made with their parents, as folder or file") {
  CHECK(same(make_in_root(fd.get(), "/a/b/c", entry_kind::folder), "/a/b/c"));
  CHECK(is_folder("/a/b/c"));
  CHECK(same(make_in_root(fd.get(), "d//e/./f", entry_kind::file), "/d/e/f"));
  CHECK(is_file("/d/e/f"));
  CHECK(same(make_in_root(fd.get(), "/a/b/c/", entry_kind::folder), "/a/b/c"));
  CHECK(same(make_in_root(fd.get(), "/new/", entry_kind::folder), "/new"));
  CHECK(same(make_in_root(fd.get(), "/", entry_kind::folder), "/"));
  CHECK(same(make_in_root(fd.get(), "/a/../a/x", entry_kind::folder), "/a/x"));
  CHECK(same(make_in_root(fd.get(), "/../../y", entry_kind::folder), "/y"));
  CHECK_FALSE(make_in_root(fd.get(), "/d/e/f/g", entry_kind::folder));
  CHECK(errno == ENOTDIR);
  CHECK_FALSE(make_in_root(fd.get(), "/d/e/f", entry_kind::folder));
  CHECK(errno == ENOTDIR);
}

TEST_CASE_METHOD(fixture, "links never lead out of the root") {
  link(top + "/outside", "/absolute");
  link("../../../../../../../../.." + top + "/outside", "/climbing");
  link("/etc", "/inside");
  CHECK_FALSE(open_in_root(fd.get(), "/absolute/secret", O_PATH));
  CHECK_FALSE(open_in_root(fd.get(), "/climbing/secret", O_PATH));
  // What a dangling link names is made inside.
  CHECK(same(make_in_root(fd.get(), "/absolute/x", entry_kind::folder), top + "/outside/x"));
  CHECK(is_folder(top + "/outside/x"));
  CHECK_FALSE(std::filesystem::exists(top + "/outside/x"));
  CHECK(make_in_root(fd.get(), "/climbing/y", entry_kind::file));
  CHECK_FALSE(std::filesystem::exists(top + "/outside/y"));
  CHECK(is_file(top + "/outside/y"));
  CHECK(same(make_in_root(fd.get(), "/inside/passwd", entry_kind::file), "/etc/passwd"));
}

TEST_CASE_METHOD(fixture, "dangling links: relative, at the end, in a loop") {
  link("run", "/var");
  CHECK(make_in_root(fd.get(), "/var/lock", entry_kind::folder));
  CHECK(is_folder("/run/lock"));
  link("target-file", "/etc/link");
  CHECK(make_in_root(fd.get(), "/etc/link", entry_kind::file));
  CHECK(is_file("/etc/target-file"));
  link("two", "/one");
  link("one", "/two");
  CHECK_FALSE(make_in_root(fd.get(), "/one/x", entry_kind::folder));
  CHECK(errno == ELOOP);
  link("grow/grow", "/grow");
  CHECK_FALSE(make_in_root(fd.get(), "/grow", entry_kind::folder));
  CHECK(errno == ELOOP);
}

TEST_CASE_METHOD(fixture, "no links at all where the kernel's file systems go") {
  link("/etc", "/proc");
  CHECK_FALSE(make_in_root(fd.get(), "/proc", entry_kind::folder, RESOLVE_NO_SYMLINKS));
  CHECK(errno == ELOOP);
}

TEST_CASE_METHOD(fixture, "paths that are too long or no text") {
  CHECK_FALSE(make_in_root(fd.get(), std::string(5000, 'a'), entry_kind::folder));
  CHECK(errno == ENAMETOOLONG);
  CHECK_FALSE(make_in_root(fd.get(), std::string("a\0b", 3), entry_kind::folder));
  CHECK(errno == EINVAL);
}

TEST_CASE("the path of a descriptor") {
  CHECK(std::string(fd_path(0).c_str()) == "/proc/self/fd/0");
  CHECK(std::string(fd_path(1048576).c_str()) == "/proc/self/fd/1048576");
}
