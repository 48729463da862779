// The whole setup with a small package, and what finds, lists and removes its guests. No network, no QEMU.
#include "vm/guest_image/setup.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/installed.hpp"
#include "vm/guest_image/package_fields.hpp"
#include "vm/guest_image/testing/pieces.hpp"

using namespace arca;
using namespace arca::vm;

namespace {
struct scratch {
  std::string root = "/tmp/arca-guest-image-test-" + random_hex(6);
  std::string data = root + "/data", run = root + "/run";
  setup_order order;

  scratch() {
    REQUIRE(fs::make_dirs(root));
    write("agent", test::program("agent one"));
    write("kernel.deb", test::deb(test::whole_package()));
    order.data_root = data;
    order.agent_path = root + "/agent";
    order.package_file = root + "/kernel.deb";
  }
  ~scratch() { static_cast<void>(fs::remove_tree(root)); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  void write(const std::string& name, const std::string& content) const {
    REQUIRE(fs::write_file_atomic(root + "/" + name, content));
  }
  setup_outcome must() const {
    const auto out = set_up_guest(order);
    INFO((out ? "" : out.error().message()));
    REQUIRE(out.has_value());
    return *out;
  }
  std::string error_of() const {
    const auto out = set_up_guest(order);
    REQUIRE_FALSE(out.has_value());
    return out.error().message();
  }
  std::string folder(const std::string& version) const { return data + "/guest/" + version; }
  void edit_manifest(const std::string& version, const std::string& from, const std::string& to) const {
    const std::string path = folder(version) + "/manifest.json";
    std::string text = fs::read_file(path).value();
    REQUIRE(text.find(from) != std::string::npos);
    text.replace(text.find(from), from.size(), to);
    REQUIRE(fs::write_file_atomic(path, text));
  }
  std::vector<std::string> hidden() const {
    std::vector<std::string> out;
    const auto names = fs::list(data + "/guest").value();
    for (const auto& name : names)
      if (name.front() == '.' && name != ".lock") out.push_back(name);
    return out;
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
}  // namespace

TEST_CASE("a guest is made, found, and not made twice") {
  const scratch s;
  CHECK(find_guest(s.data).error().message() == "no guest for virtual machines is installed: run `arca setup`");
  const auto first = s.must();
  CHECK(first.made);
  CHECK(first.guest.package.version == "6.1.1-1");
  CHECK(starts_with(first.guest.version, "6.1.1-1-"));
  CHECK(s.hidden().empty());

  const auto found = find_guest(s.data);
  REQUIRE(found.has_value());
  CHECK(found->version == first.guest.version);
  CHECK(found->kernel_release == "6.1.0-1-cloud-amd64");
  CHECK(found->agent_version == ARCA_VERSION);
  CHECK(found->agent_sha256 == digest_of_data(test::program("agent one")).sha256);
  CHECK(fs::read_file(found->kernel).value() == test::vmlinux());
  CHECK(digest_of_file(found->initrd).value() == first.guest.initrd);
  struct stat st {};
  REQUIRE(::stat(found->initrd.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0644);

  const auto second = s.must();
  CHECK_FALSE(second.made);
  CHECK(second.guest.made_at == first.guest.made_at);
  CHECK(check_agent(*found, s.order.agent_path).has_value());
  s.write("agent", test::program("agent two"));
  CHECK(has(check_agent(*found, s.order.agent_path).error().message(), "was made with another agent than"));
}

TEST_CASE("the same parts give the same bytes") {
  scratch s;
  const auto first = s.must();
  s.order.force = true;
  const auto second = s.must();
  CHECK(second.made);
  CHECK(second.guest.made_at != first.guest.made_at);
  CHECK(second.guest.version == first.guest.version);
  CHECK(second.guest.kernel == first.guest.kernel);
  CHECK(second.guest.initrd == first.guest.initrd);
  CHECK(installed_versions(s.data).value() == std::vector<std::string>{first.guest.version});
}

TEST_CASE("another agent makes another guest beside the first, and the first comes back when its agent does") {
  const scratch s;
  const auto first = s.must();
  s.write("agent", test::program("agent two"));
  const auto second = s.must();
  CHECK(second.made);
  CHECK(second.guest.version != first.guest.version);
  CHECK(installed_versions(s.data).value().size() == 2);
  CHECK(current_version(s.data) == second.guest.version);
  s.write("agent", test::program("agent one"));
  CHECK_FALSE(s.must().made);
  CHECK(current_version(s.data) == first.guest.version);
}

TEST_CASE("another package makes another guest") {
  const scratch s;
  const auto first = s.must();
  auto shape = test::whole_package();
  shape.version = "6.1.2-1";
  shape.how = test::packing::zstd;
  s.write("kernel.deb", test::deb(shape));
  const auto second = s.must();
  CHECK(second.made);
  CHECK(second.guest.package_file.sha256 != first.guest.package_file.sha256);
  // Only the newest package is kept.
  const auto kept = fs::list(s.data + "/guest/packages").value();
  REQUIRE(kept.size() == 1);
  CHECK(kept[0] == shape.name + "_6.1.2-1_amd64." + second.guest.package_file.sha256 + ".deb");
}

TEST_CASE("a guest that is damaged is refused, and made again") {
  const scratch s;
  const auto made = s.must();
  const std::string initrd = s.folder(made.guest.version) + "/initrd";
  SECTION("shorter") {
    REQUIRE(::truncate(initrd.c_str(), 100) == 0);
  }
  SECTION("gone") {
    REQUIRE(::unlink(initrd.c_str()) == 0);
  }
  CHECK(find_guest(s.data).error().message() == initrd + " is damaged: run `arca setup`");
  CHECK(s.must().made);
  CHECK(find_guest(s.data).has_value());
}

TEST_CASE("changed bytes are found by the next setup") {
  const scratch s;
  const auto made = s.must();
  const std::string initrd = s.folder(made.guest.version) + "/initrd";
  std::string content = fs::read_file(initrd).value();
  content[content.size() / 2] ^= 1;
  REQUIRE(fs::write_file_atomic(initrd, content, 0644));
  CHECK(s.must().made);
  CHECK(digest_of_file(initrd).value() == made.guest.initrd);
}

TEST_CASE("a guest of another Arca is refused by name") {
  const scratch s;
  const std::string version = s.must().guest.version;
  SECTION("version") {
    s.edit_manifest(version, "\"arca-version\": \"" ARCA_VERSION "\"", "\"arca-version\": \"0.0.9\"");
    CHECK(find_guest(s.data).error().message() ==
          "guest " + version + " was made by Arca 0.0.9, this is " ARCA_VERSION ": run `arca setup`");
  }
  SECTION("protocol") {
    s.edit_manifest(version, "\"protocol-version\": 1", "\"protocol-version\": 999");
    CHECK(has(find_guest(s.data).error().message(), "speaks protocol 999, this one speaks"));
  }
  SECTION("no manifest") {
    s.edit_manifest(version, "{", "");
    CHECK(find_guest(s.data).error().message() == "guest " + version + " is damaged: run `arca setup`");
  }
  CHECK(s.must().made);
  CHECK(find_guest(s.data).has_value());
}

TEST_CASE("what the settings name goes before the guest that was made") {
  const scratch s;
  settings config;
  config.data_root = s.data;
  config.kernel_path = s.root + "/kernel.deb";
  CHECK(find_guest(config).error().code() == errc::not_found);  // the initramfs is still missing
  config.initrd_path = s.root + "/agent";
  config.kernel_arguments = "debug";
  const auto own = find_guest(config);
  REQUIRE(own.has_value());
  CHECK(own->version.empty());
  CHECK(own->kernel_arguments == "debug");
  s.must();
  config.kernel_path.clear();
  const auto mixed = find_guest(config);
  REQUIRE(mixed.has_value());
  CHECK(mixed->initrd == s.root + "/agent");
  CHECK(mixed->agent_version.empty());
  CHECK(has(mixed->kernel, "/vmlinux"));
  config.initrd_path = "/no/such/file";
  CHECK(find_guest(config).error().message() == "there is no readable file /no/such/file (setting initrd-path)");
}

TEST_CASE("what an earlier run left is removed, and a failed one leaves nothing") {
  const scratch s;
  REQUIRE(fs::make_dirs(s.data + "/guest/.new-123456"));
  REQUIRE(::symlink("x", (s.data + "/guest/.current-123456").c_str()) == 0);
  s.must();
  CHECK(s.hidden().empty());
  const std::string before = current_version(s.data);
  auto shape = test::whole_package();
  shape.version = "6.1.3-1";
  shape.files.erase(shape.files.begin() + 3);  // virtio
  s.write("kernel.deb", test::deb(shape));
  CHECK(has(s.error_of(), "has no module virtio, and it is not built in"));
  CHECK(s.hidden().empty());
  CHECK(current_version(s.data) == before);
  CHECK(installed_versions(s.data).value().size() == 1);
}

TEST_CASE("the package that was kept may be given again, by any of its names") {
  scratch s;
  const auto first = s.must();
  const auto kept = fs::list(s.data + "/guest/packages").value().at(0);
  s.order.package_file = s.data + "/guest/../guest/packages/" + kept;
  s.order.force = true;
  CHECK(s.must().guest.initrd == first.guest.initrd);
  CHECK(fs::list(s.data + "/guest/packages").value() == std::vector<std::string>{kept});
}

TEST_CASE("two setups at once: the second is told") {
  const scratch s;
  REQUIRE(fs::make_dirs(s.data + "/guest"));
  const auto lock = lock_guests(s.data);
  REQUIRE(lock.has_value());
  CHECK(has(s.error_of(), "another `arca setup` works in"));
}

TEST_CASE("wrong packages and agents are refused in a sentence") {
  scratch s;
  SECTION("no deb") {
    s.write("kernel.deb", "text");
    CHECK(has(s.error_of(), "is no Debian kernel package"));
  }
  SECTION("missing") {
    s.order.package_file = "/no/such.deb";
    CHECK(has(s.error_of(), "open /no/such.deb"));
  }
  SECTION("no kernel inside") {
    auto shape = test::whole_package();
    shape.files.erase(shape.files.begin());
    s.write("kernel.deb", test::deb(shape));
    CHECK(has(s.error_of(), "it has no /boot/vmlinuz-"));
  }
  SECTION("a name that is a path") {
    auto shape = test::whole_package();
    shape.name = "../../etc";
    s.write("kernel.deb", test::deb(shape));
    CHECK(has(s.error_of(), "its name or version is none"));
  }
  SECTION("cut anywhere") {
    const std::string whole = test::deb(test::whole_package());
    for (size_t length = 0; length < whole.size() - 1; length += whole.size() / 40) {
      s.write("kernel.deb", whole.substr(0, length));
      CAPTURE(length);
      CHECK_FALSE(set_up_guest(s.order).has_value());
    }
  }
  SECTION("a dynamic agent") {
    s.write("agent", test::program("/lib64/ld", true));
    CHECK(has(s.error_of(), "is no statically linked program for x86-64"));
  }
  SECTION("no agent") {
    s.order.agent_path = "/no/agent";
    CHECK(has(s.error_of(), "build arca-guest or name it with --guest-path"));
  }
  SECTION("an agent that is too large") {
    s.write("agent", test::program(std::string(13'000'000, 'a')));
    CHECK(has(s.error_of(), "give a stripped agent"));
  }
  CHECK(current_version(s.data).empty());
}

TEST_CASE("prune leaves the current guest and those of running machines") {
  const scratch s;
  std::vector<std::string> versions;
  for (const char* agent : {"one", "two", "three"}) {
    s.write("agent", test::program(agent));
    versions.push_back(s.must().guest.version);
  }
  REQUIRE(fs::make_dirs(s.run + "/machines/m1"));
  REQUIRE(fs::make_dirs(s.run + "/machines/namespace"));
  REQUIRE(fs::make_dirs(s.run + "/vm/m2"));
  REQUIRE(fs::write_file_atomic(s.run + "/machines/m1/machine.json", "{\"guest\": \"" + versions[1] + "\"}"));
  REQUIRE(fs::write_file_atomic(s.run + "/vm/m2/machine.json", "{"));
  const auto refused = prune_guests(s.data, s.run);
  REQUIRE_FALSE(refused.has_value());
  CHECK(has(refused.error().message(), "nothing was removed"));
  CHECK(installed_versions(s.data).value().size() == 3);
  REQUIRE(fs::remove_tree(s.run + "/vm/m2"));
  CHECK(prune_guests(s.data, s.run).value() == std::vector<std::string>{versions[0]});
  CHECK(installed_versions(s.data).value().size() == 2);
  REQUIRE(fs::remove_tree(s.run + "/machines/m1"));
  CHECK(prune_guests(s.data, s.run).value() == std::vector<std::string>{versions[1]});
  CHECK(find_guest(s.data)->version == versions[2]);
  CHECK(prune_guests(s.root + "/nothing", s.run).value().empty());
}

TEST_CASE("a link that leads out of the folder is no guest") {
  const scratch s;
  REQUIRE(fs::make_dirs(s.data + "/guest"));
  for (const char* target : {"/etc", "../x", "..", "."}) {
    CAPTURE(target);
    REQUIRE(::symlink(target, (s.data + "/guest/current").c_str()) == 0);
    CHECK(current_version(s.data).empty());
    REQUIRE(::unlink((s.data + "/guest/current").c_str()) == 0);
  }
}

TEST_CASE("manifests are read back, and strangers' are not") {
  manifest m;
  m.version = "6.1.1-1-00000000";
  m.modules = {{"a", "b"}, {"c"}};
  m.kernel = {5, "k"};
  m.package = {"p", "6.1.1-1", "amd64"};
  m.protocol_version = 1;
  const auto back = parse_manifest(to_json(m));
  REQUIRE(back.has_value());
  CHECK(to_json(*back) == to_json(m));
  for (const char* text : {"", "[]", "{}", "{\"format\":2}", "{\"format\":\"1\"}", "{\"format\":1,\"version\":3}"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_manifest(text).has_value());
  }
  const file_digest agent{1, "a"}, other{1, "b"};
  CHECK(guest_version(m.package, agent, m.modules) == guest_version(m.package, agent, m.modules));
  CHECK(guest_version(m.package, agent, m.modules) != guest_version(m.package, other, m.modules));
  CHECK(guest_version(m.package, agent, m.modules) != guest_version(m.package, agent, {{"a", "b", "c"}}));
}

TEST_CASE("the dependency is taken to the letter") {
  const auto id = exact_dependency("linux-base (>= 4), linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)", "linux-image-");
  REQUIRE(id.has_value());
  CHECK(id->name == "linux-image-6.1.0-56-cloud-amd64");
  CHECK(id->version == "6.1.192-2");
  CHECK_FALSE(exact_dependency("linux-image-6.1.0-56-cloud-amd64", "linux-image-").has_value());
  CHECK_FALSE(exact_dependency("linux-image-a (= 1), linux-image-b (= 1)", "linux-image-").has_value());
  CHECK_FALSE(exact_dependency("", "linux-image-").has_value());
  const package_fields fields("Package: a\nDescription: x\n Version: 9\nVersion: 1\n\nPackage: b\nSize: 3\n");
  CHECK(fields["Package"] == "a");
  CHECK(fields["Version"] == "1");
  CHECK(fields["Size"].empty());
}
