#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "guest/vm/identity.hpp"
#include "guest/vm/kernel_modules.hpp"
#include "guest/vm/mounts.hpp"
#include "guest/vm/rooted.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

using namespace arca;
using namespace arca::guest;

namespace {
struct folder {
  std::string path = "/tmp/arca-rooted-" + random_hex(6);
  unique_fd root;
  folder() {
    REQUIRE(fs::make_dirs(path + "/root/etc"));
    root = std::move(*fs::open(path + "/root", O_PATH | O_DIRECTORY));
  }
  ~folder() { (void)fs::remove_tree(path); }
  std::string read(const std::string& name) const { return fs::read_file(path + name).value_or("(none)"); }
};
}  // namespace

TEST_CASE("mount options are taken apart") {
  const auto o = parse_mount_options("ro,nosuid,nodev,noexec,noatime,rbind,size=1m,,dax");
  REQUIRE(o);
  CHECK(o->attributes ==
        (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME));
  CHECK(o->read_only);
  CHECK(o->recursive);
  CHECK(o->data == std::vector<std::string>{"size=1m", "dax"});
  CHECK(parse_mount_options("")->data.empty());
  CHECK_FALSE(parse_mount_options(std::string(5000, 'x')));
}

TEST_CASE("a module's needs are read from it") {
  const std::string module("junk depends=no\0license=GPL\0depends=virtio-ring,virtio\0alias=x", 61);
  CHECK(module_needs(module) == std::vector<std::string>{"virtio_ring", "virtio"});
  CHECK(module_needs(std::string("\0depends=\0", 10)).empty());
  CHECK(module_needs("").empty());
  CHECK(module_needs(std::string("\0depends=a", 10)) == std::vector<std::string>{"a"});  // cut short
}

TEST_CASE("a module that is not there is built in; one that is broken is an error") {
  folder f;
  REQUIRE(fs::write_file_atomic(f.path + "/broken.ko", "no module"));
  kernel_modules modules("broken.ko\n\nlater.ko\n", f.path);
  CHECK(modules.load("ext4"));
  CHECK_FALSE(modules.load_first());
  CHECK_FALSE(modules.load("later"));
}

TEST_CASE("binfmt_misc gets whole lines or none") {
  emulator e{"qemu-aarch64", "/usr/bin/qemu-aarch64-static",
             std::string("\x7f"
                         "E\0L",
                         4),
             std::string(4, '\xff')};
  CHECK(*binfmt_line(e) ==
        ":qemu-aarch64:M:0:\\x7f\\x45\\x00\\x4c:\\xff\\xff\\xff\\xff:/usr/bin/qemu-aarch64-static:F");
  auto bad = e;
  SECTION("name") {
    bad.name = "a/b";
  }
  SECTION("the kernel's own names") {
    bad.name = "register";
  }
  SECTION("interpreter with a colon") {
    bad.interpreter = "/a:b";
  }
  SECTION("relative interpreter") {
    bad.interpreter = "qemu";
  }
  SECTION("mask of another size") {
    bad.mask = "x";
  }
  SECTION("no magic") {
    bad.magic = bad.mask = "";
  }
  CHECK_FALSE(binfmt_line(bad));
}

TEST_CASE("seeds, times and sysctls that are none are refused") {
  CHECK_FALSE(seed_random("short"));
  CHECK_FALSE(set_clock(0));
  CHECK_FALSE(set_sysctl("kernel/../x", "1"));
  CHECK_FALSE(set_sysctl("", "1"));
}

TEST_CASE("no link leads out of a root") {
  folder f;
  REQUIRE(fs::write_file_atomic(f.path + "/outside", "old"));
  REQUIRE(symlink("../../outside", (f.path + "/root/up").c_str()) == 0);
  REQUIRE(symlink((f.path + "/outside").c_str(), (f.path + "/root/absolute").c_str()) == 0);
  REQUIRE(symlink("..", (f.path + "/root/etc/parent").c_str()) == 0);
  REQUIRE(symlink("/proc/self/root", (f.path + "/root/magic").c_str()) == 0);
  CHECK(write_file_in(f.root.get(), "/up", "new", 0644));  // in place of the link
  CHECK(write_file_in(f.root.get(), "/etc/parent/etc/parent/../../x", "x", 0640));
  CHECK(f.read("/outside") == "old");
  CHECK(f.read("/root/up") == "new");
  CHECK(f.read("/root/x") == "x");
  struct stat s {};
  REQUIRE(stat((f.path + "/root/x").c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0640);
  CHECK_FALSE(write_file_in(f.root.get(), "/absolute/x", "x", 0644));
  CHECK_FALSE(write_file_in(f.root.get(), "/magic/tmp/x", "x", 0644));
  CHECK_FALSE(write_file_in(f.root.get(), "/etc/..", "x", 0644));
  CHECK_FALSE(write_file_in(f.root.get(), "/missing/x", "x", 0644));
  CHECK_FALSE(write_file_in(f.root.get(), std::string("/a\0b", 4), "x", 0644));
}

TEST_CASE("folders are made below a root") {
  folder f;
  REQUIRE(symlink("/", (f.path + "/root/etc/slash").c_str()) == 0);
  CHECK(make_directory_in(f.root.get(), "/a/b//c/", 0700, true));
  CHECK(make_directory_in(f.root.get(), "/a/b/c", 0700, true));
  CHECK(make_directory_in(f.root.get(), "/etc/slash/made", 01777, true));
  struct stat s {};
  REQUIRE(stat((f.path + "/root/made").c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 01777);
  CHECK(make_directory_in(f.root.get(), "one", 0755, false));
  CHECK_FALSE(make_directory_in(f.root.get(), "one", 0755, false));
  CHECK_FALSE(make_directory_in(f.root.get(), "/no/parent", 0755, false));
  REQUIRE(fs::write_file_atomic(f.path + "/root/file", ""));
  CHECK_FALSE(make_directory_in(f.root.get(), "/file/x", 0755, true));
  CHECK_FALSE(make_directory_in(f.root.get(), "/file", 0755, true));
}
