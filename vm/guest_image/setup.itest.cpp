// The whole setup with Debian's own package: apt-get and its network are used once. Boots nothing.
#include "vm/guest_image/setup.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/elf.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/installed.hpp"

using namespace arca;
using namespace arca::vm;
using clock_type = std::chrono::steady_clock;

TEST_CASE("Debian's cloud kernel becomes a guest") {
  const std::string root = "/tmp/arca-setup-itest-" + random_hex(6);
  struct remover {
    const std::string& path;
    ~remover() { static_cast<void>(fs::remove_tree(path)); }
  } const at_end{root};
  setup_order order;
  order.data_root = root;
  order.agent_path = ARCA_GUEST_PATH;
  const auto first = set_up_guest(order);
  INFO((first ? "" : first.error().message()));
  REQUIRE(first.has_value());
  CHECK(first->made);
  CHECK(starts_with(first->guest.kernel_release, "6.1."));
  CHECK(first->guest.package.name == "linux-image-" + first->guest.kernel_release);
  const auto guest = find_guest(root);
  REQUIRE(guest.has_value());
  const auto kernel = fs::read_file(guest->kernel, 256u << 20);
  REQUIRE(kernel.has_value());
  CHECK(elf::is_x86_64(*kernel));
  CHECK(kernel->find("Linux version " + guest->kernel_release) != std::string::npos);

  SECTION("the second run makes nothing, in less than a second") {
    const auto begin = clock_type::now();
    const auto second = set_up_guest(order);
    REQUIRE(second.has_value());
    CHECK_FALSE(second->made);
    CHECK(clock_type::now() - begin < std::chrono::seconds(1));
  }
  SECTION("another agent needs no network: the package was kept") {
    order.agent_path = "/bin/busybox";
    ::setenv("http_proxy", "http://127.0.0.1:9", 1);
    const auto second = set_up_guest(order);
    ::unsetenv("http_proxy");
    INFO((second ? "" : second.error().message()));
    REQUIRE(second.has_value());
    CHECK(second->made);
    CHECK(second->guest.kernel == first->guest.kernel);
    CHECK(installed_versions(root)->size() == 2);
  }
  SECTION("without network and package the error says what to do") {
    REQUIRE(fs::remove_tree(root + "/guest/packages"));
    order.force = true;
    ::setenv("http_proxy", "http://127.0.0.1:9", 1);
    const auto second = set_up_guest(order);
    ::unsetenv("http_proxy");
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().message().find("--deb FILE") != std::string::npos);
    CHECK(find_guest(root).has_value());
  }
  SECTION("without apt-get the error says what to do") {
    const std::string path = ::getenv("PATH");
    REQUIRE(fs::remove_tree(root + "/guest"));
    ::setenv("PATH", "/nowhere", 1);
    const auto second = set_up_guest(order);
    ::setenv("PATH", path.c_str(), 1);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().message().find("is not on this host: download") != std::string::npos);
  }
}
