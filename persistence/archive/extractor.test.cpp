#include "persistence/archive/extractor.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <clocale>
#include <filesystem>
#include <thread>

#include "persistence/archive/test_tar.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

using namespace arca;
using archive::extract_mode;
using test::tar_builder;
using test::tar_entry;

namespace {

/// A folder to unpack into, and beside it a canary that nothing may touch.
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

bool whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == 0 && st.st_nlink != 0;
}

}  // namespace

TEST_CASE("every kind of entry comes out whole") {
  scratch s;
  const std::string name255(255, 'n');
  std::string deep = "deep";
  for (int i = 0; i < 40; ++i) deep += "/level-0123456789-" + std::to_string(i);
  tar_builder t;
  t.add({"d/", '5', {}, {}, 02775, 5, 6, 1'234'567'890});
  t.add({"d/f", '0', "hello", {}, 04755, 70000, 4294967294ull, 1'000'000'001});
  t.hard_link("d/h", "d/f");
  t.add({"d/l", '2', {}, "f", 0777, 33, 34});
  t.hard_link("d/hl", "d/l");
  t.add({"d/fifo", '6', {}, {}, 0666});
  t.add({"d/c", '3', {}, {}, 0666, 0, 0, 1, 1, 3});
  t.add({"d/b", '4', {}, {}, 0660, 0, 6, 1, 250, 66000});
  t.add({"d/" + name255, '0', "long"});
  t.add({deep + "/file", '0', "deep"});
  t.add({"d/late", '0', "x", {}, 0600, 0, 0, 0, 0, 0, {{"mtime", "1000000000.123456789"}}});
  t.add({"d/past", '0', "x", {}, 0600, 0, 0, 0, 0, 0, {{"mtime", "-86400"}}});
  t.add({"d/latin-\xe9", '0', "l"});
  t.add({"d/u", '0', "u", {}, 0644, 0, 0, 1, 0, 0, {{"path", "d/nfd-e\xcc\x81-\xe6\x97\xa5"}}});
  t.add({"d/x",
         '0',
         "x",
         {},
         0644,
         0,
         0,
         1,
         0,
         0,
         {{"SCHILY.xattr.user.k", std::string("v\0w", 3)},
          {"SCHILY.xattr.security.capability",
           std::string("\x01\x00\x00\x02\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20)}}});
  t.add({"d/xl", '2', {}, "nowhere", 0777, 0, 0, 1, 0, 0, {{"SCHILY.xattr.trusted.t", "on link"}}});
  t.add({"new\nline", '0', ""});

  const bool utf8 = GENERATE(false, true);
  if (utf8) std::setlocale(LC_ALL, "C.UTF-8");
  const auto mode = GENERATE(extract_mode::plain, extract_mode::layer);
  archive::extract_options options;
  options.mode = mode;
  const auto r = s.unpack(t.done(), options);
  std::setlocale(LC_ALL, "C");
  REQUIRE(r);
  CHECK(r->entries == 17);
  CHECK(r->size == 5 + 1 + 4 + 4 + 1 + 1 + 1 + 1 + 1 + 7);

  CHECK(s.stat("d").st_mode == (S_IFDIR | 02775));
  CHECK(s.stat("d").st_uid == 5);
  CHECK(s.stat("d").st_gid == 6);
  CHECK(s.stat("d").st_mtim.tv_sec == 1'234'567'890);
  CHECK(s.stat("d/f").st_mode == (S_IFREG | 04755));
  CHECK(s.stat("d/f").st_uid == 70000);
  CHECK(s.stat("d/f").st_gid == 4294967294u);
  CHECK(s.stat("d/f").st_mtim.tv_sec == 1'000'000'001);
  CHECK(s.stat("d/f").st_nlink == 2);
  CHECK(s.stat("d/f").st_ino == s.stat("d/h").st_ino);
  CHECK(s.link("d/l") == "f");
  CHECK(s.stat("d/l").st_uid == 33);
  CHECK(s.stat("d/l").st_mtim.tv_sec == 1'000'000'000);
  CHECK(s.stat("d/l").st_ino == s.stat("d/hl").st_ino);
  CHECK(s.stat("d/fifo").st_mode == (S_IFIFO | 0666));
  CHECK(s.stat("d/c").st_mode == (S_IFCHR | 0666));
  CHECK(s.stat("d/c").st_rdev == makedev(1, 3));
  CHECK(s.stat("d/b").st_rdev == makedev(250, 66000));
  CHECK(s.stat("d/c").st_gid == 0);  // not the group of the setgid folder
  CHECK(s.read("d/" + name255) == "long");
  CHECK(s.read(deep + "/file") == "deep");
  CHECK(s.stat("deep").st_mode == (S_IFDIR | 0755));
  CHECK(s.stat("d/late").st_mtim.tv_nsec == 123456789);
  CHECK(s.stat("d/past").st_mtim.tv_sec == -86400);
  CHECK(s.read("d/latin-\xe9") == "l");
  CHECK(s.read("d/nfd-e\xcc\x81-\xe6\x97\xa5") == "u");
  CHECK(s.xattr("d/x", "user.k") == std::string("v\0w", 3));
  CHECK(s.xattr("d/x", "security.capability").size() == 20);
  CHECK(s.xattr("d/xl", "trusted.t") == "on link");
  CHECK(s.exists("new\nline"));
  CHECK(s.untouched());
}

TEST_CASE("folders keep their times whatever comes into them later") {
  scratch s;
  tar_builder t;
  t.add({"a/", '5', {}, {}, 0555, 0, 0, 11}).add({"b/", '5', {}, {}, 0755, 0, 0, 12});
  t.file("a/1", "x").file("b/1", "x").file("a/2", "x").folder("a/sub").file("a/sub/x", "x").file("b/2", "");
  t.file("c/implied", "x").add({"c/", '5', {}, {}, 0700, 0, 0, 13});
  REQUIRE(s.unpack_layer(t.done()));
  CHECK(s.stat("a").st_mtim.tv_sec == 11);
  CHECK(s.stat("b").st_mtim.tv_sec == 12);
  CHECK(s.stat("a/sub").st_mtim.tv_sec == 1'000'000'000);
  CHECK(s.stat("c").st_mtim.tv_sec == 13);
  CHECK(s.stat("c").st_mode == (S_IFDIR | 0700));
}

TEST_CASE("whiteouts become overlayfs' own") {
  scratch s;
  tar_builder t;
  t.file(".wh.gone", "").folder("d").file("d/.wh.x", "").folder("o").file("o/.wh..wh..opq", "").file("o/new", "n");
  t.file("keep/k", "k").file("keep/.wh.k", "");               // its own file stays, the lower one is hidden anyway
  t.folder("dir").file("dir/in", "i").file(".wh.dir", "");    // own folder over a removed lower one: opaque
  t.file(".wh.back", "").folder("back").file("back/f", "f");  // the same in the other order
  t.file(".wh.implied", "").file("implied/f", "f");           // and without an entry for the folder
  t.file(".wh.file", "").file("file", "again");
  t.file(".wh..wh.aufs", "").folder(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x");
  const auto r = s.unpack_layer(t.done());
  REQUIRE(r);
  CHECK(whiteout(s.stat("gone")));
  CHECK(whiteout(s.stat("d/x")));
  CHECK(s.xattr("o", "trusted.overlay.opaque") == "y");
  CHECK(s.read("o/new") == "n");
  CHECK_FALSE(s.exists("o/.wh..wh..opq"));
  CHECK(s.read("keep/k") == "k");
  CHECK(s.xattr("dir", "trusted.overlay.opaque") == "y");
  CHECK(s.read("dir/in") == "i");
  CHECK(s.xattr("back", "trusted.overlay.opaque") == "y");
  CHECK(s.read("back/f") == "f");
  CHECK(s.xattr("implied", "trusted.overlay.opaque") == "y");
  CHECK(s.read("implied/f") == "f");
  CHECK(s.read("file") == "again");
  for (const auto& e : std::filesystem::directory_iterator(s.root)) CHECK(e.path().filename().string()[0] != '.');
  CHECK(r->size == 1 + 1 + 1 + 1 + 1 + 5);
}

TEST_CASE("plain mode leaves whiteout names alone") {
  scratch s;
  REQUIRE(s.unpack(tar_builder().file(".wh.x", "w").file("d/.wh..wh..opq", "o").done()));
  CHECK(s.read(".wh.x") == "w");
  CHECK(s.read("d/.wh..wh..opq") == "o");
}

TEST_CASE("a later entry replaces an earlier one") {
  scratch s;
  tar_builder t;
  t.file("a", "first").file("a", "2").file("d/x", "xxx").file("d/y/z", "zz").symlink("d2", "d").file("d", "now a file");
  t.symlink("s", "a").file("s", "no link").file("f", "f").folder("f").file("f/g", "g").hard_link("a", "a");
  std::vector<std::string> replaced;
  archive::extract_options options;
  options.observer.on_replaced = [&](int, const std::string&, std::string_view path) -> result<void> {
    replaced.emplace_back(path);
    return {};
  };
  const auto r = s.unpack_layer(t.done(), options);
  REQUIRE(r);
  CHECK(s.read("a") == "2");
  CHECK(s.read("d") == "now a file");
  CHECK(s.read("s") == "no link");
  CHECK(s.read("f/g") == "g");
  CHECK(r->size == 1 + 1 + 10 + 7 + 1);
  std::sort(replaced.begin(), replaced.end());
  CHECK(replaced == std::vector<std::string>{"a", "d/x", "d/y/z", "f"});
}

TEST_CASE("docker cp's rules for folders and files") {
  scratch s;
  REQUIRE(fs::make_dirs(s.root + "/d/sub", 0755));
  REQUIRE(fs::write_file_atomic(s.root + "/d/a.txt", "a"));
  archive::extract_options options;
  options.destination = "/d";
  options.no_overwrite_dir_non_dir = true;
  auto r = s.unpack(tar_builder().folder("a.txt").done(), options);
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "cannot overwrite non-directory \"a.txt\" with directory \"/d\"");
  r = s.unpack(tar_builder().file("sub", "x").done(), options);
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "cannot overwrite directory \"sub\" with non-directory \"/d\"");
  r = s.unpack(tar_builder().file("../escape.txt", "x").done(), options);
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "invalid entry name \"../escape.txt\"");
  options.chown_to = archive::owner{1234, 4321};
  REQUIRE(s.unpack(tar_builder().add({"/own", '0', "o", {}, 0644, 1, 2}).folder("sub").done(), options));
  CHECK(s.stat("d/own").st_uid == 1234);
  CHECK(s.stat("d/sub").st_gid == 4321);
  options.destination = "/none";
  CHECK(s.unpack(tar_builder().done(), options).error().code() == errc::not_found);
  options.destination = "/d/a.txt";
  CHECK_FALSE(s.unpack(tar_builder().done(), options));
}

TEST_CASE("sparse files and files with many zeros take no space") {
  scratch s;
  // GNU's pax form 1.0: the map comes first in the content.
  std::string map = "2\n0\n5\n1000000000\n3\n";
  map.resize(512);
  tar_entry e{"GNUSparseFile.0/big", '0', map + "hello" + "end"};
  e.pax = {{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "big"},
           {"GNU.sparse.realsize", "1000000003"}};
  std::string zeros(8u << 20, '\0');
  zeros[5'000'000] = 'x';
  const auto r =
      s.unpack_layer(tar_builder().add(e).file("zeros", zeros).file("hole", std::string(1u << 20, '\0')).done());
  REQUIRE(r);
  CHECK(s.stat("big").st_size == 1000000003);
  CHECK(s.stat("big").st_blocks < 64);
  CHECK(s.read("zeros") == zeros);
  CHECK(s.stat("zeros").st_blocks <= 2 * 64);
  CHECK(s.stat("hole").st_size == 1 << 20);
  CHECK(s.stat("hole").st_blocks == 0);
  CHECK(r->size == 1000000003ull + zeros.size() + (1u << 20));
  CHECK(r->content == 8 + zeros.size() + (1u << 20));
  const unique_fd big(::open((s.root + "/big").c_str(), O_RDONLY));
  char text[4] = {};
  CHECK(::pread(big.get(), text, 3, 1000000000) == 3);
  CHECK(std::string(text) == "end");
}

TEST_CASE("payload ranges name the place of every content byte") {
  scratch s;
  const std::string tar =
      tar_builder().file("a", std::string(1000, 'a')).folder("l").symlink("k", "l").file("k/b", "bb").done();
  std::string rebuilt;
  archive::extract_options options;
  options.mode = extract_mode::layer;
  options.observer.on_payload = [&](const archive::payload_range& p) -> result<void> {
    rebuilt += std::string(p.path) + ":" + tar.substr(p.stream_offset, p.length) + ";";
    return {};
  };
  // In small pieces, so that headers and content straddle them.
  size_t at = 0;
  const archive::byte_source source = [&]() -> result<std::string_view> {
    const std::string_view piece = std::string_view(tar).substr(at, 700);
    at += piece.size();
    return piece;
  };
  REQUIRE(archive::extract(s.fd.get(), source, options));
  std::string plain;
  for (const char c : rebuilt)
    if (c != 'a' || plain.empty()) plain += c;
  CHECK(plain.find("l/b:bb;") != std::string::npos);  // the link is resolved
  CHECK(std::count(rebuilt.begin(), rebuilt.end(), 'a') >= 1000);
}

TEST_CASE("a hostile archive cannot leave the root") {
  const auto mode = GENERATE(extract_mode::layer, extract_mode::plain);
  scratch s;
  const std::string out = s.base + "/outside";
  tar_builder t;
  bool refused = true;
  SECTION("dots") {
    t.file("../outside/canary", "dead");
  }
  SECTION("dots in the middle") {
    t.folder("a").file("a/../../outside/canary", "dead");
  }
  SECTION("dots only") {
    t.folder("..", 0777);
  }
  SECTION("dots, hidden by many components") {
    t.file("a/b/../../../outside/new", "dead");
  }
  SECTION("hard link out by dots") {
    t.hard_link("h", "../outside/canary").add({"h", '0', "dead"});
  }
  SECTION("hard link to the root") {
    t.hard_link("h", "/");
  }
  SECTION("hard link to nothing") {
    t.hard_link("h", "nothing");
  }
  SECTION("hard link, absolute") {
    t.hard_link("h", out + "/canary");
  }
  SECTION("write through a link, absolute") {
    t.symlink("l", out).file("l/canary", "dead");
  }
  SECTION("write through a link, relative") {
    t.symlink("l", "../outside").file("l/canary", "dead");
  }
  SECTION("write through two links") {
    t.symlink("a", "..").symlink("l", "a/outside").file("l/canary", "dead");
  }
  SECTION("hard link through a link") {
    t.symlink("l", "../outside").hard_link("h", "l/canary");
  }
  SECTION("folder through a link") {
    t.symlink("l", out).folder("l/new");
  }
  SECTION("magic links") {
    t.symlink("l", "/proc/self/root").file("l" + out + "/canary", "dead");
  }
  SECTION("whiteout of the parent") {
    t.folder("d").file("d/.wh...", "");
  }
  SECTION("whiteout of itself") {
    t.file(".wh..", "");
  }
  SECTION("whiteout of nothing") {
    t.file(".wh.", "");
  }
  SECTION("whiteout through a link") {
    t.symlink("l", "../outside").file("l/.wh.canary", "");
  }
  SECTION("opaque mark through a link") {
    t.symlink("l", "../outside").file("l/.wh..wh..opq", "");
  }
  SECTION("owner out of range") {
    t.add({"f", '0', "", {}, 0644, 4294967295ull});
  }
  SECTION("owner far out of range") {
    t.add({"f", '0', "", {}, 0644, 0, 0, 0, 0, 0, {{"uid", "99999999999999999999"}}});
  }
  SECTION("a link without a target") {
    t.symlink("l", "");
  }
  SECTION("a name of 5000 bytes") {
    t.file(std::string(5000, 'n'), "x");
  }
  SECTION("a file as a folder") {
    t.file("f", "").file("f/x", "dead");
  }
  SECTION("root replaced by a link") {
    t.symlink("./", out).file("canary", "dead");
  }
  SECTION("root replaced by a file") {
    t.file("/", "x");
  }
  SECTION("1000 levels") {
    std::string deep;
    for (int i = 0; i < 1000; ++i) deep += "d/";
    t.file(deep + "f", "x");
  }
  SECTION("symlink over a folder in use") {
    t.folder("d").symlink("d", "../outside").file("d/canary", "dead");
  }
  SECTION("times through a link") {
    refused = false;
    t.add({"d/", '5', {}, {}, 0700, 5, 5, 77}).symlink("d", "../outside");
  }
  SECTION("absolute names stay inside") {
    refused = false;
    t.file("/etc/passwd", "inside").file("/../../x", "inside");
  }
  SECTION("dots that stay inside") {
    refused = false;
    t.file("a/../b/./c//d", "inside");
  }
  SECTION("a link out by itself is fine") {
    refused = false;
    t.symlink("up", "../../../../etc/passwd").symlink("abs", "/etc").add({"up", '0', "inside"});
  }
  SECTION("root's own attributes are left alone") {
    refused = false;
    t.add({"./", '5', {}, {}, 01777, 99, 99});
  }
  archive::extract_options options;
  options.mode = mode;
  const auto r = s.unpack(t.done(), options);
  CHECK(s.untouched());
  CHECK(s.stat("").st_mode == (S_IFDIR | 0755));
  CHECK(s.stat("").st_uid == 0);
  const bool only_layers = s.exists(".wh.") || s.exists(".wh..") || s.exists("d/.wh...");
  if (refused && !(mode == extract_mode::plain && only_layers)) {
    INFO((r ? std::string("accepted") : r.error().message()));
    CHECK_FALSE(r);
  }
  if (!refused) CHECK(r);
}

TEST_CASE("what only overlayfs may say is not believed") {
  scratch s;
  tar_builder t;
  t.add({"null", '3', {}, {}, 0666});
  t.add({"d/",
         '5',
         {},
         {},
         0755,
         0,
         0,
         1,
         0,
         0,
         {{"SCHILY.xattr.trusted.overlay.opaque", "y"},
          {"SCHILY.xattr.trusted.overlay.redirect", "/etc"},
          {"SCHILY.xattr.user.overlay.opaque", "y"},
          {"SCHILY.xattr.user.fine", "1"}}});
  t.add({"f", '0', "", {}, 0644, 0, 0, 1, 0, 0, {{"SCHILY.xattr.trusted.overlay.metacopy", ""}}});
  t.add({"g", '0', "", {}, 0644, 0, 0, 1, 0, 0, {{"LIBARCHIVE.xattr.trusted.overlay.redirect", "L2V0Yw=="}}});
  const auto r = s.unpack_layer(t.done());
  REQUIRE(r);
  CHECK_FALSE(s.exists("null"));
  CHECK(s.xattr("d", "trusted.overlay.opaque") == "<none>");
  CHECK(s.xattr("d", "trusted.overlay.redirect") == "<none>");
  CHECK(s.xattr("d", "user.overlay.opaque") == "<none>");
  CHECK(s.xattr("d", "user.fine") == "1");
  CHECK(s.xattr("f", "trusted.overlay.metacopy") == "<none>");
  CHECK(s.xattr("g", "trusted.overlay.redirect") == "<none>");
  CHECK(r->dropped == 6);
}

TEST_CASE("bombs and broken archives end in an error") {
  scratch s;
  archive::extract_options options;
  options.mode = extract_mode::layer;
  std::string tar;
  std::string expected;
  SECTION("too many entries") {
    options.limits.max_entries = 10;
    tar_builder t;
    for (int i = 0; i < 11; ++i) t.file(std::to_string(i), "");
    tar = t.done();
    expected = "more than 10 entries";
  }
  SECTION("too many bytes") {
    options.limits.max_bytes = 1000;
    tar = tar_builder().file("a", std::string(600, 'x')).file("b", std::string(600, 'x')).done();
    expected = "more than 1000 bytes";
  }
  SECTION("a header that promises 4 GiB") {
    tar_entry e{"big", '0', "only this"};
    e.claimed_size = int64_t{4} << 30;
    tar = tar_builder().add(e).done();
    expected = "unexpected EOF";
  }
  SECTION("a header that promises 8 EiB") {
    tar_entry e{"big", '0', "only this"};
    e.claimed_size = INT64_MAX - 511;
    tar = tar_builder().add(e).done();
  }
  SECTION("a sparse file of 8 EiB") {
    std::string map = "1\n9223372036854775000\n5\n";
    map.resize(512);
    tar_entry e{"s", '0', map + "hello"};
    e.pax = {{"GNU.sparse.major", "1"},
             {"GNU.sparse.minor", "0"},
             {"GNU.sparse.name", "s"},
             {"GNU.sparse.realsize", "9223372036854775005"}};
    tar = tar_builder().add(e).done();
  }
  SECTION("a sparse map beyond its file") {
    std::string map = "1\n100\n5\n";
    map.resize(512);
    tar_entry e{"s", '0', map + "hello"};
    e.pax = {
        {"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "s"}, {"GNU.sparse.realsize", "10"}};
    tar = tar_builder().add(e).done();
  }
  SECTION("cut in the content") {
    tar = tar_builder().file("a", std::string(5000, 'x')).unfinished().substr(0, 3000);
    expected = "unexpected EOF";
  }
  SECTION("cut in a header") {
    tar = tar_builder().file("a", "").unfinished().substr(0, 300);
  }
  SECTION("a damaged header") {
    tar = tar_builder().file("a", "a").file("b", "b").done();
    tar[1024 + 3] = 'X';
    expected = "archive/tar: invalid tar header";
  }
  SECTION("garbage") {
    for (int i = 0; i < 400; ++i) tar += "garbage";
    expected = "archive/tar: invalid tar header";
  }
  SECTION("an endless pax header") {
    tar_entry e{"pax", 'x', std::string(3u << 20, 'x')};
    tar = tar_builder().add(e).file("f", "").done();
  }
  const auto r = s.unpack(tar, options);
  INFO((r ? std::string("accepted") : r.error().message()));
  REQUIRE_FALSE(r);
  if (!expected.empty()) CHECK(r.error().message().find(expected) != std::string::npos);
  CHECK(s.untouched());
}

TEST_CASE("empty archives are fine, and the stream is read to its end") {
  scratch s;
  CHECK(s.unpack(""));
  CHECK(s.unpack(std::string(1024, '\0')));
  const std::string tar = tar_builder().file("a", "a").done() + std::string(9000, '\0') + "trailing";
  size_t seen = 0;
  const archive::byte_source source = [&]() -> result<std::string_view> {
    const auto piece = std::string_view(tar).substr(seen, 512);
    seen += piece.size();
    return piece;
  };
  REQUIRE(archive::extract(s.fd.get(), source, {}));
  CHECK(seen == tar.size());
  const archive::byte_source failing = []() -> result<std::string_view> { return fail(errc::cancelled, "gone"); };
  CHECK(archive::extract(s.fd.get(), failing, {}).error().code() == errc::cancelled);
}

TEST_CASE("files are made with their mode under any umask") {
  scratch s;
  const mode_t before = ::umask(0077);
  const auto r = s.unpack_layer(tar_builder().add({"f", '0', "x", {}, 0666}).folder("d", 01777).file("i/x", "").done());
  ::umask(before);
  REQUIRE(r);
  CHECK(s.stat("f").st_mode == (S_IFREG | 0666));
  CHECK(s.stat("d").st_mode == (S_IFDIR | 01777));
  CHECK(s.stat("i").st_mode == (S_IFDIR | 0755));
}

TEST_CASE("someone swaps folders for links while docker cp writes") {
  scratch s;
  REQUIRE(fs::make_dirs(s.root + "/d", 0755));
  std::atomic<bool> stop = false;
  std::thread attacker([&] {
    const std::string d = s.root + "/d", moved = s.root + "/moved";
    while (!stop) {
      std::rename(d.c_str(), moved.c_str());
      ::symlink("../outside", d.c_str());
      ::unlink(d.c_str());
      std::rename(moved.c_str(), d.c_str());
    }
  });
  for (int i = 0; i < 500; ++i) {
    tar_builder t;
    t.file("d/canary", "dead").folder("d", 0777).file("d/sub/canary", "dead").hard_link("d/h", "d/canary");
    static_cast<void>(s.unpack(t.done()));
  }
  stop = true;
  attacker.join();
  CHECK(s.untouched());
}

TEST_CASE("a deep archive uses few descriptors") {
  scratch s;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit low{100, before.rlim_max};
  tar_builder t;
  std::string deep;
  for (int i = 0; i < 400; ++i) {
    deep += "d/";
    t.add({deep, '5', {}, {}, 0755, 0, 0, 1000 + i});
  }
  t.file(deep + "f", "x").file("d/other", "y").file(deep + "g", "z");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  const auto r = s.unpack_layer(t.done());
  ::setrlimit(RLIMIT_NOFILE, &before);
  INFO((r ? std::string() : r.error().message()));
  REQUIRE(r);
  CHECK(s.read(deep + "g") == "z");
  CHECK(s.stat("d").st_mtim.tv_sec == 1000);
  CHECK(s.stat("d/d/d").st_mtim.tv_sec == 1002);
  CHECK(s.stat(deep.substr(0, deep.size() - 1)).st_mtim.tv_sec == 1399);
}
