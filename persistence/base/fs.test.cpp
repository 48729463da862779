#include "persistence/base/fs.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "persistence/base/text.hpp"

using namespace arca;

TEST_CASE("a tree is removed without following links out of it") {
  const std::string root = "/tmp/arca-fs-test-" + random_hex(6);
  REQUIRE(fs::make_dirs(root + "/outside"));
  REQUIRE(fs::write_file_atomic(root + "/outside/canary", "alive"));
  REQUIRE(fs::make_dirs(root + "/tree/a/b/c"));
  REQUIRE(::symlink("../../outside", (root + "/tree/a/link").c_str()) == 0);
  REQUIRE(fs::remove_tree(root + "/tree"));
  CHECK(::access((root + "/tree").c_str(), F_OK) != 0);
  CHECK(fs::read_file(root + "/outside/canary").value() == "alive");
  CHECK(fs::remove_tree(root + "/missing"));
  REQUIRE(fs::remove_tree(root));
}

TEST_CASE("reading is bounded") {
  const std::string path = "/tmp/arca-fs-test-" + random_hex(6);
  REQUIRE(fs::write_file_atomic(path, std::string(100, 'x'), 0600, true));
  CHECK(fs::read_file(path, 99).error().code() == errc::invalid_argument);
  CHECK(fs::read_file(path, 100)->size() == 100);
  ::unlink(path.c_str());
  CHECK(fs::read_file(path).error().code() == errc::not_found);
}
