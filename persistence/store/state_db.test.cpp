#include "persistence/store/state_db.hpp"

#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

using namespace arca;
using store::table;

namespace {

struct scratch {
  std::string path = "/tmp/arca-store-test-" + random_hex(6);
  scratch() { REQUIRE(fs::make_dirs(path)); }
  ~scratch() { static_cast<void>(fs::remove_tree(path)); }
  std::string db() const { return path + "/state.db"; }
};

store::row_change put(table in, std::string key, std::string unique, std::string document = "{}") {
  return {in, false, std::move(key), std::move(unique), std::move(document)};
}

int count_corrupt(const scratch& dir) {
  int n = 0;
  for (const auto& e : std::filesystem::directory_iterator(dir.path))
    if (e.path().filename().string().find("state.db.corrupt-") == 0) ++n;
  return n;
}

}  // namespace

TEST_CASE("rows come back as they were put") {
  const scratch dir;
  const std::string bytes("{\"a\":\"\0\xff\"}", 10);
  {
    auto db = store::state_db::open(dir.db());
    REQUIRE(db);
    REQUIRE(db->commit({put(table::containers, "c2", "web", bytes), put(table::containers, "c1", ""),
                        put(table::containers, "c0", ""), put(table::references, "busybox:latest", "")}));
    REQUIRE(db->commit({put(table::containers, "c1", "db", "{\"new\":1}"),
                        {table::containers, true, "c0", "", ""},
                        {table::containers, true, "never", "", ""}},
                       true));
  }
  struct stat st {};
  REQUIRE(::stat(dir.db().c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
  auto db = store::state_db::open(dir.db());
  REQUIRE(db);
  const auto rows = db->load(table::containers).value();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].key == "c1");
  CHECK(rows[0].unique == "db");
  CHECK(rows[0].document == "{\"new\":1}");
  CHECK(rows[1].document == bytes);
  CHECK(db->load(table::references)->size() == 1);
  CHECK(db->load(table::leases)->empty());
}

TEST_CASE("a name belongs to one row") {
  const scratch dir;
  auto db = store::state_db::open(dir.db());
  REQUIRE(db->commit({put(table::containers, "c1", "web")}));
  const auto taken = db->commit({put(table::containers, "x", "other"), put(table::containers, "c2", "web")});
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code() == errc::conflict);
  CHECK(db->load(table::containers)->size() == 1);  // nothing of the failed batch
  CHECK(db->commit({put(table::volumes, "web", "web")}));
  CHECK(db->commit({put(table::containers, "c1", "web", "{\"renamed\":0}")}));
  // Freed and taken in one batch.
  CHECK(db->commit({{table::containers, true, "c1", "", ""}, put(table::containers, "c2", "web")}));
}

TEST_CASE("group commit answers each batch") {
  const scratch dir;
  auto db = store::state_db::open(dir.db());
  std::vector<store::batch> batches;
  batches.push_back({{put(table::networks, "n1", "front")}, false});
  batches.push_back({{put(table::networks, "n2", "back"), put(table::networks, "n3", "front")}, true});
  batches.push_back({{put(table::networks, "n4", "side")}, false});
  batches.push_back({{}, false});
  const auto results = db->commit(batches);
  REQUIRE(results.size() == 4);
  CHECK(results[0]);
  REQUIRE_FALSE(results[1]);
  CHECK(results[1].error().code() == errc::conflict);
  CHECK(results[2]);
  CHECK(results[3]);
  const auto rows = db->load(table::networks).value();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].key == "n1");
  CHECK(rows[1].key == "n4");
  CHECK(db->commit(std::vector<store::batch>{}).empty());
}

TEST_CASE("a newer schema is refused and left alone") {
  const scratch dir;
  { REQUIRE(store::state_db::open(dir.db())->commit({put(table::containers, "c1", "web")})); }
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open(dir.db().c_str(), &raw) == SQLITE_OK);
  REQUIRE(sqlite3_exec(raw, "PRAGMA user_version=999", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(raw);
  auto db = store::state_db::open(dir.db());
  REQUIRE_FALSE(db);
  CHECK(db.error().code() == errc::conflict);
  CHECK(db.error().message().find("schema version 999, newer") != std::string::npos);
  CHECK(count_corrupt(dir) == 0);
}

TEST_CASE("a damaged file is set aside") {
  const scratch dir;
  SECTION("garbage") {
    REQUIRE(fs::write_file_atomic(dir.db(), std::string(20000, 'x')));
  }
  SECTION("a hole in the middle") {
    {
      auto db = store::state_db::open(dir.db());
      std::vector<store::row_change> rows;
      for (int i = 0; i < 500; ++i)
        rows.push_back(put(table::containers, random_hex(32), "n" + std::to_string(i), std::string(900, 'd')));
      REQUIRE(db->commit(rows));
    }
    auto data = fs::read_file(dir.db()).value();
    REQUIRE(data.size() > 100000);
    for (size_t i = 30000; i < 90000; ++i) data[i] = static_cast<char>(i * 7);
    REQUIRE(fs::write_file_atomic(dir.db(), data));
  }
  auto db = store::state_db::open(dir.db());
  REQUIRE(db);
  CHECK(db->load(table::containers)->empty());
  CHECK(db->commit({put(table::containers, "c1", "web")}));
  CHECK(count_corrupt(dir) == 1);
}

TEST_CASE("an empty file and a missing folder") {
  const scratch dir;
  REQUIRE(fs::write_file_atomic(dir.db(), ""));
  CHECK(store::state_db::open(dir.db()));
  CHECK(store::state_db::open(dir.path + "/none/state.db").error().code() == errc::not_found);
}

TEST_CASE("kill -9 in the middle loses nothing that was answered and leaves no half batch") {
  const scratch dir;
  for (int round = 0; round < 5; ++round) {
    int fds[2];
    REQUIRE(::pipe(fds) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto db = store::state_db::open(dir.db());
      for (int i = 0; db; ++i) {
        const std::string id = std::to_string(round) + "-" + std::to_string(i);
        std::vector<store::row_change> rows;
        for (int k = 0; k < 20; ++k)
          rows.push_back(put(table::containers, id + "-" + std::to_string(k), "", std::string(200, 'x')));
        if (!db->commit(rows, i % 16 == 0)) break;
        if (::write(fds[1], &i, sizeof i) != sizeof i) break;
      }
      ::_exit(1);
    }
    ::close(fds[1]);
    int last = -1, seen = 0;
    while (seen < 40 + round * 13 && ::read(fds[0], &last, sizeof last) == sizeof last) ++seen;
    ::kill(child, SIGKILL);
    while (::read(fds[0], &last, sizeof last) == sizeof last) {
    }
    ::close(fds[0]);
    ::waitpid(child, nullptr, 0);
    REQUIRE(last >= 0);

    auto db = store::state_db::open(dir.db());
    REQUIRE(db);
    CHECK(count_corrupt(dir) == 0);
    std::map<std::string, int> batches;
    const auto rows_now = db->load(table::containers).value();
    for (const auto& r : rows_now) ++batches[r.key.substr(0, r.key.rfind('-'))];
    for (const auto& [id, rows] : batches) CHECK(rows == 20);
    CHECK(batches.count(std::to_string(round) + "-" + std::to_string(last)) == 1);
  }
}
