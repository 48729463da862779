#include "vm/guest_image/modules.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <map>

#include "vm/guest_image/initramfs.hpp"
#include "vm/guest_image/testing/pieces.hpp"

using namespace arca;
using namespace arca::vm;

namespace {
using names = std::vector<std::string>;
using groups_of_names = std::vector<names>;

groups_of_names shown(const std::vector<module_group>& groups) {
  groups_of_names out;
  for (const auto& group : groups) {
    out.emplace_back();
    for (const auto& m : group) out.back().push_back(m.name);
  }
  return out;
}

struct file {
  mode_t mode = 0;
  unsigned major = 0, minor = 0, links = 0;
  long mtime = -1;
  std::string content;
};
struct cpio {
  std::map<std::string, file> files;
  names order;
};
cpio read_cpio(const std::string& data) {
  cpio out;
  ::archive* reader = archive_read_new();
  archive_read_support_format_cpio(reader);
  REQUIRE(archive_read_open_memory(reader, data.data(), data.size()) == ARCHIVE_OK);
  archive_entry* entry = nullptr;
  int code = ARCHIVE_OK;
  while ((code = archive_read_next_header(reader, &entry)) == ARCHIVE_OK) {
    file f{archive_entry_mode(entry),
           static_cast<unsigned>(archive_entry_rdevmajor(entry)),
           static_cast<unsigned>(archive_entry_rdevminor(entry)),
           archive_entry_nlink(entry),
           archive_entry_mtime(entry),
           std::string(static_cast<size_t>(archive_entry_size(entry)), '\0')};
    REQUIRE(archive_read_data(reader, f.content.data(), f.content.size()) == static_cast<la_ssize_t>(f.content.size()));
    out.order.emplace_back(archive_entry_pathname(entry));
    out.files[out.order.back()] = std::move(f);
  }
  CHECK(code == ARCHIVE_EOF);
  CHECK(archive_format(reader) == ARCHIVE_FORMAT_CPIO_SVR4_NOCRC);
  archive_read_free(reader);
  return out;
}
}  // namespace

TEST_CASE("modules come after what they depend on") {
  module_store store;
  store.files = {{"a", test::module("b-x,c")},
                 {"b_x", test::module("c")},
                 {"c", test::packed(test::module(""), test::packing::xz)},
                 {"d", test::module("c,e,built")},
                 {"e", test::module("")},
                 {"unused", "broken"}};
  store.built_in = {"built", "in_kernel"};
  const auto out = order_modules(store, {{"a", "b-x"}, {"in-kernel"}, {"d"}, {"e", "a"}});
  REQUIRE(out.has_value());
  CHECK(shown(*out) == groups_of_names{{"c", "b_x", "a"}, {"e", "d"}, {"e"}});
  CHECK((*out)[0][0].content == test::module(""));  // unpacked
}

TEST_CASE("a module that is missing, broken or its own dependency is named") {
  module_store store;
  store.files = {{"a", test::module("gone")}, {"b", "text"}, {"c", test::module("d")}, {"d", test::module("c")}};
  CHECK(order_modules(store, {{"a"}}).error().message() ==
        "the kernel package has no module gone, and it is not built in");
  CHECK(order_modules(store, {{"b"}}).error().message() == "module b: not a module for x86-64");
  CHECK(order_modules(store, {{"c"}}).error().message().find("its dependencies are a circle") != std::string::npos);
}

TEST_CASE("the initramfs holds what the agent expects") {
  const std::vector<module_group> groups = {
      {{"virtio", "VIRTIO"}, {"virtio_pci", "PCI"}}, {{"overlay", "OVERLAY"}}, {{"a", "A"}}};
  const auto out = make_initramfs("AGENT", groups);
  REQUIRE(out.has_value());
  const auto read = read_cpio(*out);
  CHECK(read.files.at("init").content == "AGENT");
  CHECK(read.files.at("init").mode == (S_IFREG | 0755));
  CHECK(read.files.at("lib/modules/order").content ==
        "/lib/modules/virtio.ko\n/lib/modules/virtio_pci.ko\n\n/lib/modules/overlay.ko\n\n/lib/modules/a.ko\n");
  CHECK(read.files.at("lib/modules/virtio_pci.ko").content == "PCI");
  const auto& console = read.files.at("dev/console");
  CHECK(console.mode == (S_IFCHR | 0600));
  CHECK(console.major == 5);
  CHECK(console.minor == 1);
  for (const char* folder : {"dev", "proc", "sys", "run", "tmp", "etc", "mnt", "lib/modules"})
    CHECK(S_ISDIR(read.files.at(folder).mode));
  CHECK(std::is_sorted(read.order.begin(), read.order.end()));  // so that a folder comes before what is in it
  for (const auto& [path, f] : read.files) {
    CAPTURE(path);
    CHECK(f.mtime == 0);
    CHECK((S_ISDIR(f.mode) || f.links == 1));
  }
  CHECK(*make_initramfs("AGENT", groups) == *out);
}

TEST_CASE("an initramfs that costs each start too much is refused") {
  const std::string agent(100'000, 'a');
  CHECK(make_initramfs(agent, {{}}, 103'000).has_value());
  const auto out = make_initramfs(agent, {{}}, 100'000);
  REQUIRE_FALSE(out.has_value());
  CHECK(out.error().message().find("may have 100000: give a stripped agent") != std::string::npos);
}
