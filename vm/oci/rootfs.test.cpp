#include "vm/oci/rootfs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "vm/oci/runtime_words.hpp"
#include "vm/oci/user.hpp"

using namespace arca;

namespace {
struct tree {
  std::string path;
  unique_fd root;
  tree() {
    char name[] = "/tmp/vm-rootfs-XXXXXX";
    path = mkdtemp(name);
    REQUIRE(fs::make_dirs(path + "/bin", 0755));
    REQUIRE(fs::make_dirs(path + "/etc", 0755));
    file("/bin/run", 0755);
    file("/etc/passwd", 0644);
    REQUIRE(symlink("/bin/run", (path + "/abs").c_str()) == 0);
    REQUIRE(symlink("../../../../..", (path + "/up").c_str()) == 0);
    REQUIRE(symlink("/etc/shadow", (path + "/etc/group").c_str()) == 0);
    root.reset(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~tree() { (void)fs::remove_tree(path); }
  void file(const std::string& name, int mode) {
    REQUIRE(fs::write_file_atomic(path + name, "x:y\n", mode));
    REQUIRE(chmod((path + name).c_str(), static_cast<mode_t>(mode)) == 0);
  }
};
std::string why(const result<void>& r) {
  return r ? "" : r.error().message();
}
}  // namespace

TEST_CASE("the working directory is made below the root and never outside") {
  tree t;
  CHECK(oci::make_working_dir(t.root.get(), "/a/b/../c", 5, 6));
  struct stat info {};
  CHECK(stat((t.path + "/a/c").c_str(), &info) == 0);
  CHECK(info.st_uid == 5);
  CHECK(info.st_gid == 6);
  CHECK(why(oci::make_working_dir(t.root.get(), "/etc/passwd", 0, 0)) ==
        "Cannot mkdir: /etc/passwd is not a directory");
  CHECK(why(oci::make_working_dir(t.root.get(), "/etc/passwd/x", 0, 0)) ==
        "Cannot mkdir: /etc/passwd/x is not a directory");
  CHECK(oci::make_working_dir(t.root.get(), "/up/inside", 0, 0));
  CHECK(stat((t.path + "/inside").c_str(), &info) == 0);
}

TEST_CASE("a program that cannot be run is named in runc's words") {
  tree t;
  const auto check = [&](const char* program) {
    return why(oci::check_executable(t.root.get(), program, "/sbin:/bin", "/"));
  };
  CHECK(check("run").empty());
  CHECK(check("/abs").empty());
  CHECK(check("bin/run").empty());
  CHECK(check("nosuch") == "exec: \"nosuch\": executable file not found in $PATH");
  CHECK(check("") == "exec: \"\": executable file not found in $PATH");
  CHECK(check("/no/such") == "exec: \"/no/such\": stat /no/such: no such file or directory");
  CHECK(check("/etc/passwd") == "exec: \"/etc/passwd\": permission denied");
  CHECK(check("/etc") == "exec: \"/etc\": permission denied");
}

TEST_CASE("a link in the rootfs cannot make the engine read the host's files") {
  tree t;
  CHECK(oci::read_below(t.root.get(), "etc/group", 1000).empty());
  CHECK(oci::read_below(t.root.get(), "etc/passwd", 1000) == "x:y\n");
}

TEST_CASE("what crun says becomes what runc says") {
  oci::failed_launch f;
  f.program = "nosuch";
  f.text = "executable file `nosuch` not found in $PATH: No such file or directory\n";
  auto e = oci::launch_error(f);
  CHECK(e.code() == errc::invalid_argument);
  CHECK(
      e.message() ==
      "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
      "unable to start container process: exec: \"nosuch\": executable file not found in $PATH");
  f.exec = true;
  f.cwd = "/nope";
  f.text = "chdir `/nope`: No such file or directory";
  CHECK(oci::launch_error(f).message() ==
        "OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/nope\") set in "
        "config.json failed: no such file or directory");
  f.exec = false;
  f.text = "mount `/tmp` to `etc/passwd`: Not a directory";
  CHECK(oci::launch_error(f).message().find("error mounting \"/tmp\" to rootfs at \"/etc/passwd\"") !=
        std::string::npos);
}

TEST_CASE("sources of mounts are called as the user did, reasons as Go does") {
  oci::failed_launch f;
  f.text = "mount `/run/bundle/mnt-0` to `etc/passwd`: Not a directory";
  f.mount_sources = {{"/etc/passwd", "/tmp"}};
  CHECK(oci::launch_error(f).message().find("error mounting \"/tmp\" to rootfs at \"/etc/passwd\": mount "
                                            "/tmp:/etc/passwd: not a directory: Are you trying") != std::string::npos);
  f.text = "mkdir `/sys/sub`: No such file or directory";
  CHECK(oci::launch_error(f).message().ends_with("mkdir `/sys/sub`: no such file or directory"));
  CHECK(oci::launch_error(f).code() == errc::invalid_argument);
}

TEST_CASE("the class of what a runtime says is in its words") {
  CHECK(oci::runtime_error("x: permission denied").code() == errc::invalid_argument);
  CHECK(oci::runtime_error("open /proc/sys/net/foo: No such file or directory").code() == errc::invalid_argument);
  const auto e = oci::runtime_error("stat /x/y: not a directory");
  CHECK(e.code() == errc::invalid_argument);
  CHECK(e.message().starts_with("stat /x/y: not a directory: Are you trying to mount a directory onto a file"));
  CHECK(oci::runtime_error("read-only file system").code() == errc::internal);
}

TEST_CASE("bind sources: missing ones are made or refused") {
  tree t;
  CHECK(oci::open_bind_source(t.path + "/made/here", true));
  const auto missing = oci::open_bind_source("/no/such/path", false);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == errc::invalid_argument);
  CHECK(missing.error().message() ==
        "invalid mount config for type \"bind\": bind source path does not exist: /no/such/path");
}
