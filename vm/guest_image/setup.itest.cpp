// The whole setup with Debian's own package: apt-get fetches it once. Boots nothing.
#include "vm/guest_image/setup.hpp"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <optional>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/elf.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/installed.hpp"

using namespace arca;
using namespace arca::vm;

namespace {
/// Of this process and the programs that it has run.
double processor_seconds() {
  double out = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    ::getrusage(who, &used);
    for (const auto& time : {used.ru_utime, used.ru_stime})
      out += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  }
  return out;
}
/// Sets one of the environment for a time.
class variable {
 public:
  variable(const char* name, const char* value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~variable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};
}  // namespace

TEST_CASE("Debian's cloud kernel becomes a guest") {
  const std::string root = "/tmp/arca-setup-itest-" + random_hex(6);
  struct remover {
    const std::string& path;
    ~remover() { static_cast<void>(fs::remove_tree(path)); }
  } const at_end{root};
  setup_order order;
  order.data_root = root;
  order.agent_path = ARCA_GUEST_PATH;
  const double start = processor_seconds();
  const auto first = set_up_guest(order);
  const double to_make = processor_seconds() - start;
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

  {  // The second run makes nothing and is quick.
    const double begin = processor_seconds();
    const auto second = set_up_guest(order);
    REQUIRE(second.has_value());
    CHECK_FALSE(second->made);
    CHECK(processor_seconds() - begin < to_make / 4);  // not by the clock: other tests run beside this one
  }
  const variable proxy("http_proxy", "http://127.0.0.1:9");  // from here on no server answers
  {                                                          // Another agent needs none: the package was kept.
    order.agent_path = "/bin/busybox";
    const auto other = set_up_guest(order);
    INFO((other ? "" : other.error().message()));
    REQUIRE(other.has_value());
    CHECK(other->made);
    CHECK(other->guest.kernel == first->guest.kernel);
    CHECK(installed_versions(root)->size() == 2);
  }
  REQUIRE(fs::remove_tree(root + "/guest/packages"));
  order.force = true;
  {
    const auto failed = set_up_guest(order);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().message().find("--deb FILE") != std::string::npos);
    CHECK(find_guest(root).has_value());
  }
  const variable path("PATH", "/nowhere");
  {
    const auto failed = set_up_guest(order);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().message().find("is not on this host: download") != std::string::npos);
  }
}
