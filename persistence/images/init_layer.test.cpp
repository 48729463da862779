// Needs root: mounts overlays.
#include "persistence/images/init_layer.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "persistence/archive/test_tar.hpp"
#include "persistence/images/overlay.hpp"
#include "persistence/images/test_store.hpp"

using namespace arca;
namespace files = std::filesystem;

TEST_CASE("containers of an image share a layer with the mount points, made once") {
  test::scratch_store s;
  test::tar_builder tar;
  tar.folder("etc", 0711).file("etc/hosts", "of the image").symlink("etc/resolv.conf", "../run/resolv.conf");
  tar.symlink("dev", "run/elsewhere").folder("etc/hostname").file("etc/mtab", "old");
  auto writer = s.store->begin().value();
  REQUIRE(writer->feed(tar.done()));
  REQUIRE(writer->finish());
  const auto image = writer->commit(writer->info().diff_id).value();

  std::vector<std::string> found[4];
  std::vector<std::thread> threads;
  for (auto& one : found) threads.emplace_back([&] { one = images::with_init_layer({image.diff_dir}).value(); });
  for (auto& t : threads) t.join();
  for (const auto& one : found) CHECK(one == found[0]);
  REQUIRE(found[0].size() == 2);
  CHECK(found[0][1] == image.diff_dir);
  const std::string home = files::path(image.diff_dir).parent_path();
  for (const auto& e : files::directory_iterator(home)) CHECK(e.path().filename().string().find("init-") != 0);

  images::overlay_spec spec;
  spec.lower = found[0];
  const auto root = images::mount_overlay(spec);
  REQUIRE(root);
  const std::string top = "/proc/self/fd/" + std::to_string(root->get()) + "/";
  struct stat st {};
  for (const char* name : {".dockerenv", "etc/hosts", "etc/resolv.conf", "dev/console"}) {
    INFO(name);
    REQUIRE(::lstat((top + name).c_str(), &st) == 0);
    CHECK(st.st_mode == (S_IFREG | 0755));
    CHECK(st.st_size == 0);
  }
  for (const char* name : {"proc", "sys", "dev", "dev/pts", "dev/shm", "etc/hostname"}) {
    INFO(name);
    REQUIRE(::lstat((top + name).c_str(), &st) == 0);
    CHECK(S_ISDIR(st.st_mode));
  }
  CHECK(files::read_symlink(top + "etc/mtab") == "/proc/mounts");
  REQUIRE(::lstat((top + "etc").c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0711);

  // It goes with the image's layer.
  REQUIRE(s.store->remove(image.chain_id));
  CHECK_FALSE(files::exists(home));
}

TEST_CASE("an image without layers has no init layer") {
  CHECK(images::with_init_layer({}).value().empty());
}
