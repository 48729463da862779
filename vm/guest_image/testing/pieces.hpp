// For tests: small ELF files, a bzImage and a kernel package that have the shape of the real ones.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace arca::vm::test {

enum class packing { none, gzip, xz, zstd, lz4_legacy };
std::string packed(std::string_view data, packing how);

/// A module with these dependencies ("a,b") and `padding` further bytes.
std::string module(const std::string& depends, size_t padding = 0);
/// A vmlinux of `size` bytes at least; without `pvh` it lacks the entry that QEMU needs.
std::string vmlinux(size_t size = 100'000, bool pvh = true);
/// A program; with `loader` it is a dynamically linked one.
std::string program(const std::string& content, bool loader = false);
/// The payload inside, and its size as the boot protocol wants it. `size_field` replaces the size that it says.
std::string bzimage(std::string_view payload, packing how, long size_field = -1);

struct package_shape {
  std::string name = "linux-image-6.1.0-1-cloud-amd64", version = "6.1.1-1", architecture = "amd64";
  std::string release = "6.1.0-1-cloud-amd64";
  packing how = packing::xz;
  std::vector<std::pair<std::string, std::string>> files;  ///< path, content
};
/// One with a kernel and every module that wanted_modules() asks for (ext4 built in).
package_shape whole_package();
std::string deb(const package_shape& shape);

}  // namespace arca::vm::test
