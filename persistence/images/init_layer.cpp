#include "persistence/images/init_layer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"
#include "persistence/images/overlay.hpp"

namespace arca::images {
namespace {

struct thing {
  std::string_view folder, name;
  const char* kind;  // "folder", "file" or a link's target
};
constexpr thing things[] = {{"", ".dockerenv", "file"},     {"", "proc", "folder"},   {"", "sys", "folder"},
                            {"dev", "console", "file"},     {"dev", "pts", "folder"}, {"dev", "shm", "folder"},
                            {"etc", "resolv.conf", "file"}, {"etc", "hosts", "file"}, {"etc", "hostname", "file"},
                            {"etc", "mtab", "/proc/mounts"}};

/// Opens a folder or makes it. What else has its name is removed, as Docker does: the image's link must not lead the
/// mounts elsewhere.
result<unique_fd> folder_at(int parent, const std::string& name) {
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  unique_fd fd(::openat(parent, name.c_str(), flags));
  if (fd) return fd;
  if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("unlink " + name);
  if (::mkdirat(parent, name.c_str(), 0755) != 0) return fail_errno("mkdir " + name);
  fd.reset(::openat(parent, name.c_str(), flags));
  if (!fd || ::fchmod(fd.get(), 0755) != 0) return fail_errno("open " + name);
  return fd;
}

result<void> make(int root, const thing& t) {
  unique_fd folder;
  int parent = root;
  if (!t.folder.empty()) {
    ARCA_TRY(opened, folder_at(root, std::string(t.folder)));
    folder = std::move(opened);
    parent = folder.get();
  }
  const std::string name(t.name);
  const std::string_view kind = t.kind;
  if (kind == "folder") {
    if (const auto made = folder_at(parent, name); !made) return fail(made.error());
    return {};
  }
  if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) {
    if (errno == EISDIR) return {};  // an image's folder stays
    return fail_errno("unlink " + name);
  }
  if (kind != "file") {
    if (::symlinkat(t.kind, parent, name.c_str()) != 0) return fail_errno("symlink " + name);
    return {};
  }
  const unique_fd file(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755));
  if (!file || ::fchmod(file.get(), 0755) != 0) return fail_errno("create " + name);
  return {};
}

result<void> fill(const std::vector<std::string>& layers, const std::string& dir) {
  ARCA_TRY(made, make_container_layer(dir));
  overlay_spec spec;
  spec.lower = layers;
  spec.upper = made.upper;
  spec.work = made.work;
  {
    ARCA_TRY(root, mount_overlay(spec));
    for (const auto& t : things) ARCA_CHECK(make(root.get(), t));
  }
  return fs::remove_tree(made.work);
}

}  // namespace

result<std::vector<std::string>> with_init_layer(std::vector<std::string> layers) {
  if (layers.empty()) return layers;
  const std::string home = layers.front().substr(0, layers.front().rfind('/'));
  const std::string ready = home + "/init";
  const std::string folder = ready + "/upper";
  if (::access(folder.c_str(), F_OK) != 0) {
    const std::string temporary = home + "/init-" + random_hex(8);
    auto done = fill(layers, temporary);
    if (done && ::rename(temporary.c_str(), ready.c_str()) == 0) {
      layers.insert(layers.begin(), folder);
      return layers;
    }
    const int why = errno;
    ARCA_CHECK(fs::remove_tree(temporary));
    if (!done) return fail(done.error());
    // Somebody else was first.
    if (why != EEXIST && why != ENOTEMPTY) return fail(errno_error("rename " + temporary, why));
  }
  layers.insert(layers.begin(), folder);
  return layers;
}

}  // namespace arca::images
