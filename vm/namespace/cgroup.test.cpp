#include "vm/cgroup.hpp"

#include <catch2/catch.hpp>

#include "vm/namespace/namespace_backend.hpp"

using namespace arca;

TEST_CASE("cgroup mounts: v2 alone, v1, hybrid") {
  const vm::cgroup_tree v2(vm::parse_cgroup_mounts(
      "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"));
  CHECK(v2.mode() == vm::cgroup_mode::v2);
  CHECK(v2.folder("", "/arca/x") == "/sys/fs/cgroup/arca/x");
  CHECK(v2.folder("memory", "/arca/x").empty());

  const vm::cgroup_tree hybrid(
      vm::parse_cgroup_mounts("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
                              "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                              "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                              "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
                              "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                              "50 23 0:99 / /mnt/other rw - cgroup cgroup rw,pids\n"));
  CHECK(hybrid.mode() == vm::cgroup_mode::hybrid);
  CHECK(hybrid.hierarchies().size() == 4);
  CHECK(hybrid.folder("cpuacct", "/a") == "/sys/fs/cgroup/cpu,cpuacct/a");
  CHECK(hybrid.folder("name=systemd", "/a") == "/sys/fs/cgroup/systemd/a");
  CHECK(hybrid.folder("pids", "/a").empty());
  CHECK(vm::cgroup_tree(vm::parse_cgroup_mounts("nonsense\n\n1 2 3\n")).hierarchies().empty());
}

TEST_CASE("identities go through JSON and nonsense is refused") {
  vm::machine_identity m{"namespace", "abc", "/run/arca/machines/1", "/arca/abc", 42, 18446744073709551615u, "boot"};
  auto back = vm::identity_from_json(vm::to_json(m));
  REQUIRE(back);
  CHECK(back->pid == 42);
  CHECK(back->start_time == m.start_time);
  CHECK(back->cgroup == "/arca/abc");
  for (const auto* text :
       {"", "[]", "{}", R"({"id":"x","dir":"/a/../b","cgroup":"/c"})", R"({"id":"x","dir":"/a","cgroup":"/"})"})
    CHECK_FALSE(vm::identity_from_json(text));
}
