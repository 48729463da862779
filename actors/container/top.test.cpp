#include "actors/container/top.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace arca;

namespace {
process_facts facts(int64_t pid, std::string stat, std::string command) {
  process_facts out;
  out.pid = pid;
  out.stat = std::move(stat);
  out.command = std::move(command);
  return out;
}
process_list one(process_facts process) {
  process_list out;
  out.processes.push_back(std::move(process));
  out.uptime = 100;
  out.memory_kib = 1000;
  out.now = 1'000'000;
  return out;
}
nlohmann::json rows(const process_list& of, const std::string& args) {
  const auto table = process_table(of, args);
  REQUIRE(table);
  return nlohmann::json::parse(*table)["Processes"];
}
const std::string fields = " S 1 7 7 34816 7 0 0 0 0 0 250 50 0 0 20 0 1 0 5000 4096000 25 rest";
}  // namespace

TEST_CASE("top: a process as ps shows it") {
  auto list = one(facts(7, "7 (a (b) c)" + fields, std::string("sh\0-c\0x y\0", 10)));
  CHECK(rows(list, "-o pid,ppid,stat,comm,args,tty,vsz,rss,pmem,time,pcpu").dump() ==
        R"([["7","1","S","a (b) c","sh -c x y","pts/0","4000","100","10.0","00:00:03","6.0"]])");
  list.processes[0].command.clear();
  CHECK(rows(list, "")[0][7] == "[a (b) c]");
  list.processes.push_back(facts(3, "3 (x)" + fields, "x"));
  CHECK(rows(list, "-o pid").dump() == R"([["3"],["7"]])");
}

TEST_CASE("top: whatever a machine says of itself, an answer comes of it") {
  const std::string huge = "9223372036854775807";
  std::string stat = "7 (x) S " + huge + " 7 7 2147483647 7 0 0 0 0 0 " + huge + ' ' + huge + " 0 0 20 0 1 0 " + huge +
                     " 18446744073709551615 " + huge;
  auto list = one(facts(-1, stat, std::string(5000, '\xff')));
  list.uptime = GENERATE(-1.0, 1e300, 0.0, 100.0);
  list.memory_kib = GENERATE(int64_t{-5}, int64_t{0}, INT64_MAX);
  list.now = GENERATE(INT64_MIN, INT64_MAX, int64_t{0});
  for (const char* args : {"", "aux", "-o pid,pcpu,pmem,rss,vsz,time,tty"}) CHECK(rows(list, args).size() == 1);
}

TEST_CASE("top: what is no process is left out") {
  for (const char* stat : {"", "7", "7 (x", "7 x)", ")(", "7 (x) S 1", "7 (x) S a b c d"})
    CHECK(rows(one(facts(7, stat, "x")), "").empty());
  CHECK(process_table(one(facts(7, "", "")), "--forest").error().code() == errc::invalid_argument);
}
