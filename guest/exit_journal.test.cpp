#include "guest/exit_journal.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::guest;

TEST_CASE("journal lines survive what a crash leaves") {
  const exit_record one{"c1", "init", 137, 1'700'000'000'123'456'789, true, 42};
  exit_record two{"c1", "e1", 0, 5, false, 0};
  exit_record later = two;
  later.last_sequence = 9;
  const std::string text =
      to_line(one) + to_line(two) + "nonsense\n[1]\n{\"container\":3}\n" + to_line(later) + to_line(one).substr(0, 20);
  const auto read = parse_journal(text);
  REQUIRE(read.size() == 2);
  CHECK(read[0] == one);
  CHECK(read[1] == later);
}

TEST_CASE("acknowledged exits leave the file") {
  std::string dir = "/tmp/guest-journal-XXXXXX";
  REQUIRE(mkdtemp(dir.data()));
  exit_journal journal;
  journal.set_path(dir + "/exits");
  REQUIRE(journal.write({"c", "init", 1, 2, false, 3}));
  REQUIRE(journal.write({"c", "init", 1, 2, false, 4}));
  REQUIRE(journal.write({"c", "x", 0, 2, false, 1}));
  CHECK(parse_journal(*fs::read_file(dir + "/exits")).size() == 2);
  REQUIRE(journal.erase("c", "x"));
  REQUIRE(journal.erase("c", "unknown"));
  const auto left = parse_journal(*fs::read_file(dir + "/exits"));
  REQUIRE(left.size() == 1);
  CHECK(left[0].last_sequence == 4);
  REQUIRE(journal.erase("c", "init"));
  CHECK(fs::read_file(dir + "/exits")->empty());
  CHECK(fs::remove_tree(dir));
}
