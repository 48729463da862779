#include "vm/network/address.hpp"

#include <catch2/catch.hpp>
#include <set>

using namespace arca::net;

TEST_CASE("IPv4 addresses") {
  CHECK(parse_ip4("172.17.0.1") == 0xac110001u);
  CHECK(to_string(ip4{0xac110001}) == "172.17.0.1");
  for (const char* bad : {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", "::1", "1.2.3.4/8"})
    CHECK_FALSE(parse_ip4(bad));
}

TEST_CASE("IPv4 subnets") {
  const auto s = parse_subnet4("172.17.0.1/16");
  REQUIRE(s);
  CHECK(to_string(s->network()) == "172.17.0.0/16");
  CHECK(to_string(s->last()) == "172.17.255.255");
  CHECK(s->contains(*parse_ip4("172.17.255.254")));
  CHECK_FALSE(s->contains(*parse_ip4("172.18.0.1")));
  CHECK(s->overlaps(*parse_subnet4("172.16.0.0/12")));
  CHECK(parse_subnet4("172.16.0.0/12")->overlaps(*s));
  CHECK_FALSE(s->overlaps(*parse_subnet4("172.18.0.0/16")));
  CHECK(parse_subnet4("0.0.0.0/0")->overlaps(*s));
  CHECK(to_string(parse_subnet4("10.0.0.1/32")->last()) == "10.0.0.1");
  for (const char* bad : {"172.17.0.1", "172.17.0.1/", "172.17.0.1/33", "172.17.0.1/-1", "172.17.0.1/1x", "/8"})
    CHECK_FALSE(parse_subnet4(bad));
}

TEST_CASE("MAC addresses") {
  const auto m = parse_mac("02:42:AC:11:00:02");
  REQUIRE(m);
  CHECK(to_string(*m) == "02:42:ac:11:00:02");
  CHECK(parse_mac("02-42-ac-11-00-02") == m);
  CHECK(parse_mac("0242.ac11.0002") == m);
  for (const char* bad : {"", "zz:zz", "02:42:ac:11:00", "02-42:ac-11-00-02", "02.42.ac.11.00.02", "0242.ac11-0002",
                          "0242.ac11.00g2", "0242.ac11.00.2", "0g:42:ac:11:00:02", "02:42:ac:11:00:022"})
    CHECK_FALSE(parse_mac(bad));
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto r = random_mac();
    CHECK((r[0] & 3) == 2);
    seen.insert(to_string(r));
  }
  CHECK(seen.size() == 100);
}
