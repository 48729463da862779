// What a hostile archive tries, and what it gets.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <clocale>
#include <filesystem>
#include <thread>

#include "persistence/archive/test_scratch.hpp"

using namespace arca;
using archive::extract_mode;
using test::scratch;
using test::tar_builder;
using test::tar_entry;
using test::whiteout;

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
