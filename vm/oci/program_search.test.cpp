#include "vm/oci/program_search.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "persistence/base/unique_fd.hpp"

using namespace arca;

TEST_CASE("folders of $PATH that lack a program") {
  char name[] = "/tmp/vm-search-XXXXXX";
  const std::string path = mkdtemp(name);
  for (const char* folder : {"/usr/local/bin", "/usr/bin", "/opt/tools", "/srv"})
    REQUIRE(fs::make_dirs(path + folder, 0755));
  REQUIRE(symlink("usr/bin", (path + "/bin").c_str()) == 0);
  REQUIRE(symlink("/opt/../opt/tools", (path + "/tools").c_str()) == 0);
  REQUIRE(symlink("loop", (path + "/loop").c_str()) == 0);
  REQUIRE(symlink("/nowhere", (path + "/srv/prog").c_str()) == 0);
  REQUIRE(fs::write_file_atomic(path + "/usr/bin/prog", "x", 0755));
  REQUIRE(fs::write_file_atomic(path + "/file", "x", 0644));
  const unique_fd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto count = [&](const std::string& folders, const std::vector<std::string>& mounts = {},
                         const std::string& program = "prog") {
    return oci::folders_without(root.get(), program, folders, mounts);
  };

  CHECK(count("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") == 3);
  CHECK(count("/bin") == 0);
  CHECK(count("/sbin:/bin") == 1);
  CHECK(count("/usr/local/bin:/tools") == 2);
  CHECK(count("/usr/local/bin:/srv:/sbin") == 1);  // a link that leads nowhere is there
  CHECK(count("/../../usr/local/bin") == 1);
  CHECK(count("") == 0);
  CHECK(count("/sbin::/usr/local/bin") == 1);  // the working directory
  CHECK(count("/sbin:local:/usr/local/bin") == 1);
  CHECK(count("/sbin:/loop:/usr/local/bin") == 1);
  CHECK(count("/sbin:/file/x:/usr/local/bin") == 1);
  CHECK(count("/sbin", {}, "a/b") == 0);
  CHECK(count("/sbin", {}, "") == 0);

  // What is mounted there only the guest sees.
  CHECK(count("/sbin:/usr/local/bin:/tools", {"/usr/local"}) == 1);
  CHECK(count("/sbin:/usr/local/bin:/tools", {"/data", "/usr/local/bin/other", "/usr/loc"}) == 3);
  CHECK(count("/sbin:/usr/local/bin", {"/usr/local/bin/prog"}) == 1);
  CHECK(count("/sbin:/usr/local/bin:/tools", {"/opt/tools"}) == 2);  // behind the link
  CHECK(count("/sbin:/opt/tools", {"/tools/"}) == 1);
  CHECK(count("/sbin:/tools", {"/loop"}) == 0);
  CHECK(count("/sbin:/proc/self:/usr/local/bin") == 1);
  CHECK(count("/sbin", {"/"}) == 0);
  CHECK(fs::remove_tree(path));
}
