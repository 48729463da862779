#include "guest/channel/handshake.hpp"

#include <catch2/catch.hpp>

#include "guest/proto/vm_start.hpp"

using arca::guest::handshake;

namespace {
const std::string secret(32, 'a'), other_secret(32, 'b');

std::string line(const std::string& with, char nonce) {
  return "ARCA1 " + with + ' ' + std::string(32, nonce) + '\n';
}
}  // namespace

TEST_CASE("an idle port's line is found wherever it stands") {
  handshake h;
  SECTION("alone") {
    CHECK(h.search(line(secret, '1')) == line(secret, '1'));
  }
  SECTION("between what an earlier client left") {
    CHECK(h.search("half a frame ARCA1 " + line(secret, '1') + "rest") == line(secret, '1'));
  }
  SECTION("cut anywhere") {
    const std::string whole = "stale" + line(secret, '1');
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      handshake fresh;
      CAPTURE(cut);
      CHECK(fresh.search(whole.substr(0, cut)).empty());
      CHECK(fresh.search(whole.substr(cut)) == line(secret, '1'));
    }
  }
  SECTION("byte by byte") {
    const std::string whole = line(secret, '1');
    for (size_t i = 0; i + 1 < whole.size(); ++i) CHECK(h.search(whole.substr(i, 1)).empty());
    CHECK(h.search("\n") == whole);
  }
  SECTION("several: the last counts") {
    CHECK(h.search(line(secret, '1') + line(secret, '2') + "x" + line(secret, '3')) == line(secret, '3'));
  }
  SECTION("its second half does not make another one") {
    CHECK(h.search(line(secret, '1') + line(secret, '2').substr(0, 40)) == line(secret, '1'));
    h.forget_tail();
    CHECK(h.search(line(secret, '2').substr(40)).empty());
  }
  SECTION("a flood is forgotten") {
    for (int i = 0; i < 100; ++i) CHECK(h.search(std::string(4096, 'A')).empty());
    CHECK(h.search(line(secret, '1')) == line(secret, '1'));
  }
}

TEST_CASE("the first line sets the secret, later ones must have it") {
  handshake h;
  REQUIRE_FALSE(h.search(line(secret, '1')).empty());
  CHECK(h.search(line(other_secret, '2')).empty());
  CHECK(h.search(line(other_secret, '2') + line(secret, '3')) == line(secret, '3'));
  CHECK(h.search(line(secret, '4') + line(other_secret, '5')) == line(secret, '4'));
  CHECK(h.at_start(line(other_secret, '6')).empty());
  CHECK(h.at_start(line(secret, '7')) == line(secret, '7'));
}

TEST_CASE("two first lines with different secrets: the first is the daemon's") {
  handshake h;
  CHECK(h.search(line(secret, '1') + line(other_secret, '2')) == line(secret, '1'));
}

TEST_CASE("what is no line is none") {
  handshake h;
  std::string bad = line(secret, '1');
  SECTION("capital digits") {
    bad[10] = 'A';
  }
  SECTION("no digit in the nonce") {
    bad[50] = 'g';
  }
  SECTION("no space") {
    bad[38] = 'a';
  }
  SECTION("another version") {
    bad[4] = '2';
  }
  SECTION("no end") {
    bad[71] = 'a';
  }
  CHECK(h.search(bad).empty());
}

TEST_CASE("while a connection is served only the beginning of a buffer counts") {
  handshake h;
  CHECK(h.at_start(line(secret, '1')).empty());  // nobody has a secret yet
  REQUIRE_FALSE(h.search(line(secret, '1')).empty());
  CHECK(h.at_start(line(secret, '2')) == line(secret, '2'));
  CHECK(h.at_start(line(secret, '2') + line(secret, '3') + "x") == line(secret, '3'));
  CHECK(h.at_start("x" + line(secret, '2')).empty());
  CHECK(h.at_start(line(secret, '2').substr(0, 71)).empty());
  CHECK(h.at_start("").empty());
}
