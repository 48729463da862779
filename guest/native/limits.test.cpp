#include "guest/native/limits.hpp"

#include <catch2/catch.hpp>

using namespace arca;
using namespace arca::guest::native;
using nlohmann::json;

namespace {
using lines = std::vector<std::string>;

lines shown(const std::vector<limit_write>& writes) {
  lines out;
  for (const auto& w : writes) out.push_back((w.controller.empty() ? "" : w.controller + '/') + w.file + '=' + w.value);
  return out;
}
lines v2(const char* resources, const std::string& now = "") {
  const auto writes = unified_limits(json::parse(resources), [&](const std::string&) { return now; });
  REQUIRE(writes);
  return shown(*writes);
}
lines v1(const char* resources) {
  const auto writes = legacy_limits(json::parse(resources));
  REQUIRE(writes);
  return shown(*writes);
}
std::string refused(const char* resources, const std::string& now = "") {
  const auto writes = unified_limits(json::parse(resources), [&](const std::string&) { return now; });
  REQUIRE_FALSE(writes);
  return writes.error().message();
}
}  // namespace

TEST_CASE("v2: memory") {
  CHECK(v2("{}").empty());
  CHECK(v2("null").empty());
  CHECK(v2(R"({"memory":{"limit":1000,"swap":3000}})") == lines{"memory.max=1000", "memory.swap.max=2000"});
  CHECK(v2(R"({"memory":{"limit":1000,"swap":-1,"reservation":500}})") ==
        lines{"memory.max=1000", "memory.swap.max=max", "memory.low=500"});
  CHECK(v2(R"({"memory":{"limit":-1}})") == lines{"memory.max=max"});
  CHECK(v2(R"({"memory":{"swap":3000}})", "1000\n") == lines{"memory.swap.max=2000"});
  CHECK(v2(R"({"memory":{"swappiness":5,"kernel":7,"disableOOMKiller":true}})").empty());
  CHECK(refused(R"({"memory":{"swap":3000}})", "max\n") == "cannot set swap limit without the memory limit");
  CHECK(refused(R"({"memory":{"limit":1000,"swap":500}})") ==
        "cannot set memory+swap limit less than the memory limit");
}

TEST_CASE("v2: cpu, pids") {
  CHECK(v2(R"({"cpu":{"shares":1024,"quota":50000,"period":100000,"cpus":"0-1","mems":"0"}})") ==
        lines{"cpu.weight=39", "cpu.max=50000 100000", "cpuset.cpus=0-1", "cpuset.mems=0"});
  CHECK(v2(R"({"cpu":{"quota":-1}})") == lines{"cpu.max=max"});
  CHECK(v2(R"({"cpu":{"period":20000}})", "70000 100000\n") == lines{"cpu.max=70000 20000"});
  CHECK(v2(R"({"pids":{"limit":5}})") == lines{"pids.max=5"});
  CHECK(v2(R"({"pids":{"limit":-1}})") == lines{"pids.max=max"});
  CHECK(weight_of_shares(0) == 1);
  CHECK(weight_of_shares(2) == 1);
  CHECK(weight_of_shares(262144) == 10000);
  CHECK(weight_of_shares(1 << 30) == 10000);
  CHECK(refused(R"({"cpu":{"cpus":"0\n1"}})") == "invalid cpuset.cpus");
}

TEST_CASE("v2: block devices, huge pages, files by name") {
  CHECK(v2(R"({"blockIO":{"weight":500,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
                          "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":9}]}})") ==
        lines{"io.bfq.weight=500", "io.weight=default 4950", "io.max=8:0 rbps=1024", "io.max=8:16 wiops=9"});
  CHECK(v2(R"({"hugepageLimits":[{"pageSize":"2MB","limit":4096},{"pageSize":"../x","limit":1}]})") ==
        lines{"hugetlb.2MB.max=4096"});
  CHECK(v2(R"({"unified":{"memory.high":"5"}})") == lines{"memory.high=5"});
  CHECK(refused(R"({"unified":{"../memory.high":"5"}})") == "invalid file \"../memory.high\" in resources.unified");
  CHECK(refused(R"({"unified":{"cgroup.procs":"1"}})") == "invalid file \"cgroup.procs\" in resources.unified");
}

TEST_CASE("v1") {
  CHECK(v1(R"({"memory":{"limit":1000,"swap":3000,"swappiness":0}})") ==
        lines{"memory/memory.limit_in_bytes=1000", "memory/memory.memsw.limit_in_bytes=3000",
              "memory/memory.limit_in_bytes=1000", "memory/memory.swappiness=0"});
  CHECK(v1(R"({"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0"},"pids":{"limit":9}})") ==
        lines{"cpu/cpu.shares=512", "cpu/cpu.cfs_period_us=100000", "cpu/cpu.cfs_quota_us=50000",
              "cpuset/cpuset.cpus=0", "pids/pids.max=9"});
}
