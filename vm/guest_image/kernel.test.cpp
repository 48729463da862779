#include "vm/guest_image/kernel.hpp"

#include <catch2/catch.hpp>

#include "vm/guest_image/elf.hpp"
#include "vm/guest_image/testing/pieces.hpp"

using namespace arca;
using namespace arca::vm;
using test::packing;

TEST_CASE("the kernel comes out of a bzImage whatever packed it") {
  const std::string kernel = test::vmlinux(300'000);
  for (const auto how : {packing::lz4_legacy, packing::gzip, packing::xz, packing::zstd, packing::none}) {
    CAPTURE(static_cast<int>(how));
    const auto out = vmlinux_of(test::bzimage(kernel, how));
    REQUIRE(out.has_value());
    CHECK(*out == kernel);
  }
}

TEST_CASE("a payload that is not what its header says is refused") {
  const std::string kernel = test::vmlinux();
  const auto size = static_cast<long>(kernel.size());
  for (const auto how : {packing::lz4_legacy, packing::gzip, packing::xz, packing::zstd}) {
    CAPTURE(static_cast<int>(how));
    CHECK_FALSE(vmlinux_of(test::bzimage(kernel, how, size - 1)).has_value());
    CHECK_FALSE(vmlinux_of(test::bzimage(kernel, how, size + 1)).has_value());
    CHECK_FALSE(vmlinux_of(test::bzimage(kernel, how, 0x7fff'ffff)).has_value());
  }
}

TEST_CASE("no bzImage, no kernel") {
  const std::string good = test::bzimage(test::vmlinux(), packing::lz4_legacy);
  CHECK(vmlinux_of("").error().message() == "kernel: not a bzImage");
  CHECK(vmlinux_of(std::string(4096, 'x')).error().message() == "kernel: not a bzImage");
  CHECK(vmlinux_of(test::bzimage(std::string(10'000, 'x'), packing::lz4_legacy)).error().message() ==
        "kernel: the payload is no kernel for x86-64");
  CHECK(vmlinux_of(test::bzimage(test::vmlinux(10'000, false), packing::lz4_legacy)).error().message() ==
        "kernel: it has no PVH entry (CONFIG_PVH)");
  std::string old = good;
  old[0x206] = 7;
  CHECK(vmlinux_of(old).error().message() == "kernel: the boot protocol is older than 2.08");
  for (size_t length : {0x24fu, 0x250u, 2048u, 60'000u}) CHECK_FALSE(vmlinux_of(good.substr(0, length)).has_value());
  std::string outside = good;
  outside.replace(0x248, 4, "\xff\xff\xff\xff");
  CHECK(vmlinux_of(outside).error().message() == "kernel: the payload lies outside of it");
}

TEST_CASE("every cut of an ELF file is looked at without harm") {
  const std::string module = test::module("virtio,virtio_ring");
  const auto info = elf::section(module, ".modinfo");
  REQUIRE(info.has_value());
  CHECK(info->find("depends=virtio,virtio_ring") != std::string_view::npos);
  CHECK_FALSE(elf::section(module, ".text").has_value());
  const std::string kernel = test::vmlinux(10);
  CHECK(elf::has_note(kernel, "Xen", 18));
  CHECK_FALSE(elf::has_note(kernel, "Xen", 19));
  CHECK_FALSE(elf::has_note(kernel, "GNU", 18));
  for (size_t n = 0; n < module.size(); ++n) static_cast<void>(elf::section(module.substr(0, n), ".modinfo"));
  for (size_t n = 0; n < kernel.size(); ++n) static_cast<void>(elf::has_note(kernel.substr(0, n), "none", 18));
  for (size_t n = 0; n < module.size(); ++n) {  // and every field with the largest value
    std::string broken = module;
    broken.replace(n, std::min<size_t>(8, module.size() - n), std::min<size_t>(8, module.size() - n), '\xff');
    static_cast<void>(elf::section(broken, ".modinfo"));
  }
}

TEST_CASE("a static program asks for no loader") {
  CHECK_FALSE(elf::needs_loader(test::program("static")));
  CHECK(elf::needs_loader(test::program("/lib64/ld-linux-x86-64.so.2", true)));
}
