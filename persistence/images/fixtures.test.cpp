// Real images (tests/fixtures/make-images.sh, in the folder $ARCA_FIXTURES) through load, save and the tar log, and
// beside GNU tar. tests/system/test_images.py makes them and runs these.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>

#include "persistence/base/sha256.hpp"
#include "persistence/images/image_archive.hpp"
#include "persistence/images/overlay.hpp"
#include "persistence/images/test_store.hpp"

using namespace arca;

namespace {

std::vector<std::string> fixtures() {
  const char* folder = std::getenv("ARCA_FIXTURES");
  REQUIRE(folder != nullptr);
  std::vector<std::string> out;
  for (const auto& e : std::filesystem::directory_iterator(folder))
    if (e.path().extension() == ".tar" && e.path().filename().string()[0] != '.') out.push_back(e.path());
  std::sort(out.begin(), out.end());
  REQUIRE_FALSE(out.empty());
  return out;
}

std::string quote_bytes(const std::string& s) {
  std::string out;
  for (const char c : s) out += c > ' ' && c < 127 ? std::string(1, c) : "\\x" + to_hex(&c, 1);
  return out;
}

std::string xattrs(const std::string& path) {
  char names[4096], value[4096];
  const ssize_t n = ::llistxattr(path.c_str(), names, sizeof names);
  std::map<std::string, std::string> sorted;
  for (ssize_t at = 0; at < n; at += static_cast<ssize_t>(std::strlen(names + at)) + 1) {
    const ssize_t size = ::lgetxattr(path.c_str(), names + at, value, sizeof value);
    sorted[names + at] = to_hex(value, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  }
  std::string out;
  for (const auto& [k, v] : sorted) out += " " + k + "=" + v;
  return out;
}

/// Everything about every entry, one line each; hard links by the first name of their inode.
std::map<std::string, std::string> describe(const std::string& root) {
  std::map<std::string, std::string> out;
  std::map<ino_t, std::string> first;
  std::vector<std::string> names;
  for (const auto& e : std::filesystem::recursive_directory_iterator(root)) names.push_back(e.path());
  std::sort(names.begin(), names.end());
  for (const auto& path : names) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    const std::string name = path.substr(root.size() + 1);
    char text[256];
    // A folder without an entry of its own in the archive has the time of unpacking.
    if (S_ISDIR(st.st_mode) && st.st_mtim.tv_sec > ::time(nullptr) - 3600 && st.st_mtim.tv_sec <= ::time(nullptr))
      st.st_mtim = {};
    if (st.st_mtim.tv_sec < 0) st.st_mtim = {};  // Docker and we: no time before 1970
    std::snprintf(text, sizeof text, "%o %u:%u %lld.%09ld %llx", st.st_mode, st.st_uid, st.st_gid,
                  static_cast<long long>(st.st_mtim.tv_sec), st.st_mtim.tv_nsec,
                  static_cast<unsigned long long>(st.st_rdev));
    std::string line = text + xattrs(path);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) line += " link " + first.try_emplace(st.st_ino, name).first->second;
    if (S_ISLNK(st.st_mode)) line += " -> " + std::filesystem::read_symlink(path).string();
    if (S_ISREG(st.st_mode))
      line += " " + std::to_string(st.st_size) + " " + digest_of(fs::read_file(path, 1u << 31).value());
    out[quote_bytes(name)] = line;
  }
  return out;
}

result<std::vector<images::loaded_image>> load_file(test::scratch_store& s, const std::string& path) {
  const auto fd = fs::open(path, O_RDONLY).value();
  return images::load(*s.store, archive::source_of_fd(fd.get()), {});
}

}  // namespace

TEST_CASE("real images load, give back the same layers, and load again from what was saved", "[.fixtures]") {
  for (const auto& path : fixtures()) {
    if (std::filesystem::file_size(path) > (250u << 20)) continue;
    INFO(path);
    test::scratch_store s, other;
    const auto loaded = load_file(s, path);
    INFO((loaded ? std::string() : loaded.error().message()));
    REQUIRE(loaded);
    REQUIRE(loaded->size() == 1);
    const auto& image = loaded->front();
    for (const auto& layer : s.store->list()) {
      CHECK(s.store->read_tar(layer.chain_id, [](std::string_view) -> result<void> { return {}; }));
      CHECK(layer.size == test::lstat_size(layer.diff_dir));
    }
    const std::string saved = s.root + "/saved.tar";
    {
      const auto out = fs::open(saved, O_WRONLY | O_CREAT).value();
      REQUIRE(images::save(*s.store, {{image.config, image.repo_tags}},
                           [&](std::string_view bytes) { return fs::write_all(out.get(), bytes); }));
    }
    const auto again = load_file(other, saved);
    INFO((again ? std::string() : again.error().message()));
    REQUIRE(again);
    CHECK(again->front().id == image.id);
    CHECK(again->front().repo_tags == image.repo_tags);
    CHECK(other.store->list().size() == s.store->list().size());
  }
}

TEST_CASE("layers look like what GNU tar unpacks", "[.fixtures]") {
  for (const auto& path : fixtures()) {
    const std::string name = std::filesystem::path(path).stem();
    if (name != "edge" && name != "sparse" && name != "redis" && name != "config") continue;
    INFO(path);
    test::scratch_store s;
    const auto loaded = load_file(s, path);
    REQUIRE(loaded);
    for (const auto& chain : loaded->front().chain_ids) {
      const auto layer = s.store->find(chain).value();
      const std::string tar = s.root + "/layer.tar", tree = s.root + "/tree";
      {
        const auto out = fs::open(tar, O_WRONLY | O_CREAT | O_TRUNC).value();
        REQUIRE(s.store->read_tar(chain, [&](std::string_view bytes) { return fs::write_all(out.get(), bytes); }));
      }
      REQUIRE(fs::make_dirs(tree, 0755));
      REQUIRE(std::system(("LC_ALL=C tar --extract --same-permissions --same-owner --numeric-owner --xattrs "
                           "--xattrs-include='*' --directory " +
                           tree + " --file " + tar)
                              .c_str()) == 0);
      const auto ours = describe(layer.diff_dir);
      auto theirs = describe(tree);
      for (auto it = theirs.begin(); it != theirs.end();) {
        const size_t at = it->first.rfind('/') == std::string::npos ? 0 : it->first.rfind('/') + 1;
        if (it->first.compare(at, 4, ".wh.") != 0) {
          ++it;
          continue;
        }
        // A whiteout: ours is a device under the bare name, or a mark on the folder.
        const std::string folder = it->first.substr(0, at), hidden = it->first.substr(at + 4);
        if (hidden == ".wh..opq") {
          const std::string of = folder.substr(0, folder.size() - 1);
          REQUIRE(theirs.count(of) == 1);
          theirs[of] += " trusted.overlay.opaque=79";
        } else {
          struct stat st {};
          REQUIRE(::lstat((layer.diff_dir + "/" + folder + hidden).c_str(), &st) == 0);
          CHECK((S_ISCHR(st.st_mode) && st.st_rdev == 0));
          theirs[folder + hidden] = ours.at(folder + hidden);
        }
        it = theirs.erase(it);
      }
      CHECK(ours.size() == theirs.size());
      for (const auto& [entry, line] : theirs) {
        INFO(entry);
        CHECK((ours.count(entry) == 1 ? ours.at(entry) : "<missing>") == line);
      }
      REQUIRE(fs::remove_tree(tree));
    }
  }
}

TEST_CASE("time to load an image", "[.bench]") {
  const char* path = std::getenv("ARCA_BENCH_ARCHIVE");
  REQUIRE(path != nullptr);
  test::scratch_store s;
  const auto start = std::chrono::steady_clock::now();
  const auto loaded = load_file(s, path);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  REQUIRE(loaded);
  uint64_t bytes = 0;
  for (const auto& layer : s.store->list()) bytes += layer.tar_size;
  const double megabytes = static_cast<double>(bytes) / 1e6;
  WARN(path << ": " << s.store->list().size() << " layers, " << megabytes << " MB of tar, " << seconds << " s, "
            << megabytes / seconds << " MB/s");
}
