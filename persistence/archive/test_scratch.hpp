// For tests of unpacking: a folder to unpack into, and beside it a canary that nothing may touch.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "persistence/archive/extractor.hpp"
#include "persistence/archive/test_tar.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::test {
using archive::extract_mode;

struct scratch {
  std::string base = "/tmp/arca-archive-test-" + random_hex(6);
  std::string root = base + "/root";
  unique_fd fd;
  scratch() {
    REQUIRE(fs::make_dirs(root, 0755));
    REQUIRE(fs::make_dirs(base + "/outside", 0755));
    REQUIRE(fs::write_file_atomic(base + "/outside/canary", "alive"));
    fd = fs::open(root, O_RDONLY | O_DIRECTORY).value();
  }
  ~scratch() { static_cast<void>(fs::remove_tree(base)); }

  result<archive::extract_result> unpack(const std::string& tar, archive::extract_options options = {}) {
    return archive::extract(fd.get(), archive::source_of(std::string_view(tar)), options);
  }
  result<archive::extract_result> unpack_layer(const std::string& tar, archive::extract_options options = {}) {
    options.mode = extract_mode::layer;
    return unpack(tar, options);
  }
  struct stat stat(const std::string& name) {
    struct stat st {};
    if (::lstat((root + "/" + name).c_str(), &st) != 0) st.st_nlink = 0;
    return st;
  }
  bool exists(const std::string& name) { return stat(name).st_nlink != 0; }
  std::string read(const std::string& name) { return fs::read_file(root + "/" + name).value_or("<none>"); }
  std::string link(const std::string& name) { return std::filesystem::read_symlink(root + "/" + name).string(); }
  std::string xattr(const std::string& name, const char* key) {
    char value[256];
    const ssize_t n = ::lgetxattr((root + "/" + name).c_str(), key, value, sizeof value);
    return n < 0 ? "<none>" : std::string(value, static_cast<size_t>(n));
  }
  bool untouched() {
    std::vector<std::string> names;
    for (const auto& e : std::filesystem::recursive_directory_iterator(base + "/outside"))
      names.push_back(e.path().filename());
    struct stat st {};
    return ::stat((base + "/outside").c_str(), &st) == 0 && st.st_mode == (S_IFDIR | 0755) && names.size() == 1 &&
           fs::read_file(base + "/outside/canary").value_or("") == "alive" &&
           std::distance(std::filesystem::directory_iterator(base), {}) == 2;
  }
};

inline bool whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == 0 && st.st_nlink != 0;
}

}  // namespace arca::test
