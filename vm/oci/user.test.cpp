#include "vm/oci/user.hpp"

#include <catch2/catch.hpp>

using namespace arca;

namespace {
constexpr auto passwd =
    "root:x:0:0:root:/root:/bin/sh\n# comment\nwww:x:33:33:www:/var/www:/bin/sh\nbad "
    "line\nbob:x:1000:1001::/home/bob:\n";
constexpr auto group = "root:x:0:\nstaff:x:50:bob\nwheel:x:10:root,bob\nwww:x:33:\n";

oci::resolved_user ok(const char* user, const std::vector<std::string>& add = {}) {
  auto r = oci::resolve_user(user, add, passwd, group);
  INFO(user);
  REQUIRE(r);
  return *r;
}
std::string refused(const char* user, const std::vector<std::string>& add = {}) {
  auto r = oci::resolve_user(user, add, passwd, group);
  INFO(user);
  REQUIRE_FALSE(r);
  return r.error().message();
}
}  // namespace

TEST_CASE("users are looked up as Docker does") {
  CHECK(ok("").uid == 0);
  CHECK(ok("").home == "/root");
  CHECK(ok("").groups == std::vector<uint32_t>{0, 10});
  CHECK(ok("bob").uid == 1000);
  CHECK(ok("bob").gid == 1001);
  CHECK(ok("bob").groups == std::vector<uint32_t>{1001, 50, 10});
  CHECK(ok("1000").home == "/home/bob");
  CHECK(ok("4242").uid == 4242);
  CHECK(ok("4242").gid == 0);
  CHECK(ok("4242").home == "/");
  CHECK(ok("1000:50").gid == 50);
  CHECK(ok("bob:staff").groups == std::vector<uint32_t>{50});
  CHECK(ok("bob:7").gid == 7);
  CHECK(ok("", {"staff", "1234"}).groups == std::vector<uint32_t>{0, 10, 50, 1234});
  CHECK(ok("2147483647").uid == 2147483647u);
}

TEST_CASE("users that are not there are refused in Docker's words") {
  CHECK(refused("nosuch") == "unable to find user nosuch: no matching entries in passwd file");
  CHECK(refused("root:nosuch") == "unable to find group nosuch: no matching entries in group file");
  CHECK(refused("", {"nosuch"}) == "unable to find group nosuch: no matching entries in group file");
  CHECK(refused("99999999999") == "uids and gids must be in range 0-2147483647");
  CHECK(refused("4294967296") == "uids and gids must be in range 0-2147483647");
  CHECK(refused("-1") == "uids and gids must be in range 0-2147483647");
  CHECK(refused("0:99999999999") == "uids and gids must be in range 0-2147483647");
}
