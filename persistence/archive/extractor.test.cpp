#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "persistence/archive/test_scratch.hpp"

using namespace arca;
using archive::extract_mode;
using test::scratch;
using test::tar_builder;
using test::tar_entry;
using test::whiteout;

TEST_CASE("every kind of entry comes out whole") {
  scratch s;
  const std::string name255(255, 'n');
  std::string deep = "deep";
  for (int i = 0; i < 40; ++i) deep += "/level-0123456789-" + std::to_string(i);
  tar_builder t;
  t.add({"d/", '5', {}, {}, 02775, 5, 6, 1'234'567'890});
  t.add({"d/f", '0', "hello", {}, 04755, 70000, 4294967294ull, 1'000'000'001});
  // A further name says the same as the first; what it says differently counts (Docker: not the mode and times of
  // links).
  t.add({"d/h", '1', {}, "d/f", 04711, 70000, 4294967294ull, 1'000'000'002});
  t.add({"d/l", '2', {}, "f", 0777, 33, 34});
  t.add({"d/hl", '1', {}, "d/l", 0777, 33, 35, 5});
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
  CHECK(s.stat("d/f").st_mode == (S_IFREG | 04711));
  CHECK(s.stat("d/f").st_uid == 70000);
  CHECK(s.stat("d/f").st_gid == 4294967294u);
  CHECK(s.stat("d/f").st_mtim.tv_sec == 1'000'000'002);
  CHECK(s.stat("d/f").st_nlink == 2);
  CHECK(s.stat("d/f").st_ino == s.stat("d/h").st_ino);
  CHECK(s.link("d/l") == "f");
  CHECK(s.stat("d/l").st_uid == 33);
  CHECK(s.stat("d/l").st_gid == 35);
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
  CHECK(s.stat("d/past").st_mtim.tv_sec == 0);  // Docker: no time before 1970
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
