// Needs root: overlayfs itself is asked what it makes of our layers.
#include "persistence/images/overlay.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "persistence/archive/packer.hpp"
#include "persistence/archive/test_tar.hpp"
#include "persistence/images/test_store.hpp"

using namespace arca;
using test::tar_builder;

namespace {

std::string put(test::scratch_store& s, const tar_builder& tar) {
  auto writer = s.store->begin().value();
  REQUIRE(writer->feed(tar.done()));
  REQUIRE(writer->finish());
  const auto info = writer->commit(writer->info().diff_id);
  REQUIRE(info);
  return info->diff_dir;
}

std::string read_at(int root, const std::string& name) {
  const unique_fd fd(::openat(root, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return "<none>";
  char text[256];
  const ssize_t n = ::read(fd.get(), text, sizeof text);
  return n < 0 ? "<error>" : std::string(text, static_cast<size_t>(n));
}

bool write_at(int root, const std::string& name, const std::string& data) {
  const unique_fd fd(::openat(root, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  return fd && ::write(fd.get(), data.data(), data.size()) == static_cast<ssize_t>(data.size());
}

std::string mounts() {
  return fs::read_file("/proc/self/mountinfo", 64u << 20).value();
}

using mounter = result<unique_fd> (*)(const images::overlay_spec&);

}  // namespace

TEST_CASE("layers are stacked as the image says") {
  const mounter mount = GENERATE(images::mount_overlay, images::mount_overlay_legacy);
  test::scratch_store s;
  const std::string host = mounts();
  images::overlay_spec spec;
  const std::string bottom = put(s, tar_builder()
                                        .file("a", "1")
                                        .file("gone", "1")
                                        .folder("o")
                                        .file("o/old", "1")
                                        .folder("d")
                                        .file("d/x", "1")
                                        .file("keep", "1"));
  const std::string middle = put(s, tar_builder()
                                        .file("a", "2")
                                        .file(".wh.gone", "")
                                        .file("o/.wh..wh..opq", "")
                                        .file("o/new", "2")
                                        .file(".wh.d", "")
                                        .file("d/y", "2"));
  const std::string top =
      put(s, tar_builder()
                 .add({"a", '3', {}, {}, 0666})
                 .add({"o/", '5', {}, {}, 0700, 0, 0, 1, 0, 0, {{"SCHILY.xattr.trusted.overlay.opaque", "y"}}}));
  spec.lower = {top, middle, bottom};
  const auto layer = images::make_container_layer(s.root + "/c").value();
  SECTION("writable") {
    spec.upper = layer.upper;
    spec.work = layer.work;
  }
  SECTION("read-only, without an upper folder") {}
  SECTION("read-only, with one") {
    spec.upper = layer.upper;
    spec.work = layer.work;
    spec.read_only = true;
  }
  {
    const auto root = mount(spec);
    INFO((root ? std::string() : root.error().message()));
    REQUIRE(root);
    CHECK(mounts() == host);
    CHECK(read_at(root->get(), "a") == "2");  // the forged whiteout was not believed
    CHECK(read_at(root->get(), "gone") == "<none>");
    CHECK(read_at(root->get(), "o/old") == "<none>");
    CHECK(read_at(root->get(), "o/new") == "2");  // nor the forged opaque mark
    CHECK(read_at(root->get(), "d/x") == "<none>");
    CHECK(read_at(root->get(), "d/y") == "2");
    CHECK(read_at(root->get(), "keep") == "1");
    const bool writable = !spec.upper.empty() && !spec.read_only;
    CHECK(write_at(root->get(), "written", "12345") == writable);
    if (writable) {
      CHECK(images::size_of_tree(layer.upper).value() == 5);
      REQUIRE(::unlinkat(root->get(), "keep", 0) == 0);
      REQUIRE(write_at(root->get(), "keep", "new"));
      REQUIRE(::unlinkat(root->get(), "a", 0) == 0);
      CHECK(::linkat(root->get(), "written", root->get(), "linked", 0) == 0);
      CHECK(images::size_of_tree(layer.upper).value() == 8);
    }
  }
  CHECK(mounts() == host);
}

TEST_CASE("one layer, no layer, a layer whose root is opaque, and nonsense") {
  test::scratch_store s;
  const std::string lower = put(s, tar_builder().file("a", "1"));
  const std::string opaque = put(s, tar_builder().file(".wh..wh..opq", "").file("b", "2"));
  const auto layer = images::make_container_layer(s.root + "/c").value();
  for (const mounter mount : {&images::mount_overlay, &images::mount_overlay_legacy}) {
    auto root = mount({{lower}, {}, {}, false});
    REQUIRE(root);
    CHECK(read_at(root->get(), "a") == "1");
    CHECK_FALSE(write_at(root->get(), "x", "x"));
    root = images::mount_overlay({{}, layer.upper, layer.work, false});
    REQUIRE(root);
    CHECK(write_at(root->get(), "x", "x"));
    root = images::mount_overlay({{}, layer.upper, layer.work, true});
    REQUIRE(root);
    CHECK_FALSE(write_at(root->get(), "y", "x"));
    root = mount({{opaque, lower}, layer.upper, layer.work, false});
    REQUIRE(root);
    CHECK(read_at(root->get(), "b") == "2");
    CHECK(read_at(root->get(), "a") == "<none>");
  }
  CHECK_FALSE(images::mount_overlay({}));
  CHECK_FALSE(images::mount_overlay({{lower}, layer.upper, {}, false}));
  const auto missing = images::mount_overlay({{s.root + "/none", lower}, {}, {}, false});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message().find("/none") != std::string::npos);
}

TEST_CASE("130 layers fit") {
  test::scratch_store s;
  images::overlay_spec spec;
  for (int i = 0; i < 130; ++i)
    spec.lower.insert(spec.lower.begin(),
                      put(s, tar_builder().file("last", std::to_string(i)).file("n" + std::to_string(i), "x")));
  const auto layer = images::make_container_layer(s.root + "/c").value();
  spec.upper = layer.upper;
  spec.work = layer.work;
  for (const mounter mount : {&images::mount_overlay, &images::mount_overlay_legacy}) {
    const auto root = mount(spec);
    INFO((root ? std::string() : root.error().message()));
    REQUIRE(root);
    CHECK(read_at(root->get(), "last") == "129");
    CHECK(read_at(root->get(), "n0") == "x");
  }
}

TEST_CASE("what a container changed is packed as a layer, and hides what it deleted") {
  test::scratch_store s;
  const std::string lower = put(s, tar_builder().file("gone", "1").folder("d").file("d/old", "1").file("kept", "1"));
  const auto layer = images::make_container_layer(s.root + "/c").value();
  std::string tar;
  {
    const auto root = images::mount_overlay({{lower}, layer.upper, layer.work, false});
    REQUIRE(root);
    REQUIRE(::unlinkat(root->get(), "gone", 0) == 0);
    REQUIRE(::unlinkat(root->get(), "d/old", 0) == 0);
    REQUIRE(::unlinkat(root->get(), "d", AT_REMOVEDIR) == 0);
    REQUIRE(::mkdirat(root->get(), "d", 0700) == 0);
    REQUIRE(write_at(root->get(), "d/new", "2"));
    const auto upper = fs::open(layer.upper, O_RDONLY | O_DIRECTORY).value();
    archive::pack_options options;
    options.overlay_to_oci = true;
    REQUIRE(archive::pack(upper.get(), options, [&](std::string_view bytes) -> result<void> {
      tar += bytes;
      return {};
    }));
  }
  auto writer = s.store->begin().value();
  REQUIRE(writer->feed(tar));
  REQUIRE(writer->finish());
  const auto committed = writer->commit(writer->info().diff_id).value();
  const auto root = images::mount_overlay({{committed.diff_dir, lower}, {}, {}, false});
  REQUIRE(root);
  CHECK(read_at(root->get(), "gone") == "<none>");
  CHECK(read_at(root->get(), "kept") == "1");
  CHECK(read_at(root->get(), "d/old") == "<none>");
  CHECK(read_at(root->get(), "d/new") == "2");
}
