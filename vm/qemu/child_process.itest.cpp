// Needs root: users, cgroups and mounts are what it is about.
#include "vm/qemu/child_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/process.hpp"

using namespace arca;
using namespace arca::vm;

namespace {

struct run {
  std::string text;
  explicit run(child_plan plan, const std::string& script) {
    char name[] = "/tmp/arca-child-XXXXXX";
    const unique_fd file(mkostemp(name, O_CLOEXEC));
    plan.argv = {"/bin/sh", "-c", script};
    plan.output = file.get();
    auto child = start_child(plan);
    INFO((child ? "" : child.error().message()));
    REQUIRE(child);
    CHECK(child->start_time != 0);
    REQUIRE(wait_for_end(child->pidfd.get(), 5000));
    text = fs::read_file(name).value_or("");
    unlink(name);
  }
};

}  // namespace

TEST_CASE("child: descriptors as planned and none besides") {
  const unique_fd null(::open("/dev/null", O_RDONLY));  // not close-on-exec: somebody's mistake
  const unique_fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const unique_fd full(::open("/dev/full", O_RDONLY | O_CLOEXEC));
  child_plan plan;
  plan.descriptors = {full.get(), zero.get(), full.get()};
  const run done(plan, "cd /proc/self/fd; for n in *; do echo $n $(readlink /proc/$$/fd/$n); done");
  CHECK(done.text.find("0 /dev/null\n") != std::string::npos);
  CHECK(done.text.find("3 /dev/full\n4 /dev/zero\n5 /dev/full\n") != std::string::npos);
  CHECK(done.text.find("\n6 /dev") == std::string::npos);
  CHECK(done.text.find("\n7 /dev") == std::string::npos);
}

TEST_CASE("child: a session, a user and no way back; ours are as before") {
  child_plan plan;
  plan.user = 0x70010007;
  const run done(plan,
                 "id -u; id -g; id -G; grep -E '^(CapEff|NoNewPrivs|SigBlk|SigIgn|SigCgt)' /proc/self/status; "
                 "cut -d' ' -f 1,6 /proc/self/stat; pwd");
  const auto lines = split(done.text, '\n');
  INFO(done.text);
  REQUIRE(lines.size() > 8);
  CHECK(lines[0] == "1879113735");
  CHECK(lines[1] == "1879113735");
  CHECK(lines[2] == "1879113735");
  CHECK(done.text.find("CapEff:\t0000000000000000") != std::string::npos);
  CHECK(done.text.find("NoNewPrivs:\t1") != std::string::npos);
  CHECK(done.text.find("SigBlk:\t0000000000000000") != std::string::npos);
  CHECK(done.text.find("SigIgn:\t0000000000000000") != std::string::npos);
  CHECK(done.text.find("\n/\n") != std::string::npos);
  CHECK(geteuid() == 0);
  CHECK(prctl(PR_GET_DUMPABLE) == 1);
}

TEST_CASE("child: in its cgroup from the first instruction on") {
  const auto path = "/arca-test-" + random_hex(4) + "/box";
  const auto parent = path.substr(0, path.rfind('/'));
  const auto& tree = cgroup_tree::host();
  {
    const auto members = tree.create_leaf(path);
    REQUIRE(members);
    child_plan plan;
    for (const auto& fd : *members) plan.cgroups.push_back(fd.get());
    const run done(plan, "cat /proc/self/cgroup");
    for (const auto& h : tree.hierarchies()) {
      if (h.unified && tree.mode() != cgroup_mode::v2) continue;
      CHECK(done.text.find(':' + (h.unified ? std::string() : h.controllers.front())) != std::string::npos);
    }
    CHECK(done.text.find(":" + path + "\n") != std::string::npos);
  }
  CHECK(tree.remove(path, 1000));
  CHECK(tree.remove(parent, 1000));
}

TEST_CASE("child: mounts that only it sees") {
  char name[] = "/tmp/arca-mount-XXXXXX";
  const std::string dir = mkdtemp(name);
  REQUIRE(fs::make_dirs(dir + "/source"));
  REQUIRE(fs::make_dirs(dir + "/target"));
  REQUIRE(fs::write_file_atomic(dir + "/source/file", "inside\n"));
  const unique_fd tree(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, (dir + "/source").c_str(), 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC)));
  REQUIRE(tree);
  child_plan plan;
  plan.mounts = {{tree.get(), dir + "/target"}};
  const run done(plan, "cat " + dir + "/target/file");
  CHECK(done.text == "inside\n");
  CHECK(fs::list(dir + "/target")->empty());
  CHECK(fs::read_file("/proc/self/mountinfo")->find(dir) == std::string::npos);
  REQUIRE(fs::remove_tree(dir));
}

#if !__has_feature(thread_sanitizer)  // it makes vfork a fork, and nobody hears what the child could not do
TEST_CASE("child: what cannot start says why, and leaves no process") {
  child_plan plan;
  plan.argv = {"/no/such/program"};
  CHECK(start_child(plan).error().message() == "start /no/such/program: execute: No such file or directory");
  plan.descriptors.assign(17, 0);
  CHECK(start_child(plan).error().code() == errc::invalid_argument);
  const unique_fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, "/tmp", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC)));
  child_plan misplaced;
  misplaced.mounts = {{tree.get(), "/no/such/folder"}};
  misplaced.argv = {"/bin/true"};
  const auto failed = start_child(misplaced);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message().find("attach a mount") != std::string::npos);
  CHECK(fs::read_file("/proc/self/task/" + std::to_string(gettid()) + "/children")->empty());
}
#endif

TEST_CASE("child: what a program prints, but not for ever") {
  CHECK(*output_of({"/bin/echo", "version 7"}, 20'000) == "version 7\n");
  CHECK(output_of({"/bin/sh", "-c", "echo some; exec sleep 60"}, 2000)->substr(0, 5) == "some\n");
  CHECK(output_of({"/usr/bin/yes"}, 20'000)->size() < (80u << 10));
}

TEST_CASE("a process is known by its start time") {
  const auto own = start_time_of(getpid());
  CHECK(open_process(getpid(), own));
  CHECK(open_process(getpid(), own + 1).error().code() == errc::gone);
  CHECK(open_process(getpid(), 0).error().code() == errc::gone);
  CHECK(open_process(0x3ffffff, own).error().code() == errc::gone);
}
