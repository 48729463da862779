#include "vm/guest_image/testing/pieces.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>

#include <cstring>
#include <stdexcept>

#include "persistence/archive/tar_writer.hpp"

namespace arca::vm::test {
namespace {
template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string little_endian(uint32_t value) {
  return bytes_of(value);  // the tests run on x86-64 only, as what they test
}

la_ssize_t append(::archive*, void* into, const void* data, size_t size) {
  static_cast<std::string*>(into)->append(static_cast<const char*>(data), size);
  return static_cast<la_ssize_t>(size);
}

void add_entry(::archive* writer, const std::string& name, std::string_view data) {
  archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_mode(entry, AE_IFREG | 0644);
  archive_entry_set_size(entry, static_cast<la_int64_t>(data.size()));
  if (archive_write_header(writer, entry) != ARCHIVE_OK ||
      archive_write_data(writer, data.data(), data.size()) != static_cast<la_ssize_t>(data.size()))
    throw std::runtime_error(archive_error_string(writer));
  archive_entry_free(entry);
}

Elf64_Ehdr elf_header() {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_machine = EM_X86_64;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_shentsize = sizeof(Elf64_Shdr);
  return head;
}

std::string with_segment(uint32_t type, const std::string& content, const std::string& rest) {
  auto head = elf_header();
  head.e_phoff = sizeof head;
  head.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = type;
  segment.p_offset = sizeof head + sizeof segment;
  segment.p_filesz = content.size();
  return bytes_of(head) + bytes_of(segment) + content + rest;
}
}  // namespace

std::string packed(std::string_view data, packing how) {
  if (how == packing::none) return std::string(data);
  if (how == packing::lz4_legacy) {  // literals only (lz4 Block Format), one block of 8 MiB at most
    if (data.size() > 8u << 20) throw std::runtime_error("too large for one block");
    std::string block(1, '\xf0');
    size_t left = data.size() - 15;
    for (; left >= 255; left -= 255) block += '\xff';
    block += static_cast<char>(left);
    block += data;
    return little_endian(0x184c2102) + little_endian(static_cast<uint32_t>(block.size())) + block;
  }
  std::string out;
  ::archive* writer = archive_write_new();
  archive_write_set_format_raw(writer);
  if (how == packing::gzip) archive_write_add_filter_gzip(writer);
  if (how == packing::xz) archive_write_add_filter_xz(writer);
  if (how == packing::zstd) archive_write_add_filter_zstd(writer);
  archive_write_set_bytes_in_last_block(writer, 1);
  archive_write_open(writer, &out, nullptr, &append, nullptr);
  add_entry(writer, "data", data);
  archive_write_close(writer);
  archive_write_free(writer);
  return out;
}

std::string module(const std::string& depends, size_t padding) {
  const std::string info = "license=GPL" + std::string(1, '\0') + "depends=" + depends + std::string(1, '\0');
  const std::string names(std::string("\0.modinfo\0.shstrtab\0", 20));
  auto head = elf_header();
  head.e_shoff = sizeof head;
  head.e_shnum = 3;
  head.e_shstrndx = 2;
  const uint64_t content = sizeof head + 3 * sizeof(Elf64_Shdr);
  Elf64_Shdr none{}, first{}, second{};
  first.sh_name = 1;
  first.sh_offset = content;
  first.sh_size = info.size();
  second.sh_name = 10;
  second.sh_offset = content + info.size();
  second.sh_size = names.size();
  return bytes_of(head) + bytes_of(none) + bytes_of(first) + bytes_of(second) + info + names +
         std::string(padding, 'm');
}

std::string vmlinux(size_t size, bool pvh) {
  Elf64_Nhdr other{4, 3, 1}, note{4, 4, pvh ? 18u : 17u};
  const std::string notes =
      bytes_of(other) + std::string("GNU\0abc\0", 8) + bytes_of(note) + std::string("Xen\0", 4) + "\1\2\3\4";
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += "instruction " + std::to_string(i * i) + ";";
  return with_segment(PT_NOTE, notes, text);
}

std::string program(const std::string& content, bool loader) {
  return with_segment(loader ? PT_INTERP : PT_LOAD, content, "");
}

std::string bzimage(std::string_view payload, packing how, long size_field) {
  std::string inside = packed(payload, how);
  const auto size =
      little_endian(static_cast<uint32_t>(size_field < 0 ? static_cast<long>(payload.size()) : size_field));
  if (how == packing::gzip)
    inside.replace(inside.size() - 4, 4, size);  // gzip's own ISIZE
  else
    inside += size;
  constexpr size_t sectors = 3, offset = 100;
  std::string out((sectors + 1) * 512 + offset, '\0');
  out[0x1f1] = static_cast<char>(sectors);
  out.replace(0x202, 4, "HdrS");
  out.replace(0x206, 2, std::string("\x0f\x02", 2));
  out.replace(0x248, 4, little_endian(offset));
  out.replace(0x24c, 4, little_endian(static_cast<uint32_t>(inside.size())));
  return out + inside + "trailing code";
}

package_shape whole_package() {
  package_shape out;
  const std::string modules = "./lib/modules/" + out.release + "/kernel/drivers/";
  out.files = {
      {"./boot/vmlinuz-" + out.release, bzimage(vmlinux(), packing::lz4_legacy)},
      {"./boot/config-" + out.release, "CONFIG_PVH=y\n"},
      {"./lib/modules/" + out.release + "/modules.builtin", "kernel/fs/ext4/ext4.ko\n"},
      {modules + "virtio.ko", module("")},
      {modules + "virtio_ring.ko", module("virtio")},
      {modules + "virtio_pci.ko", module("virtio,virtio_ring")},
      {modules + "virtio_console.ko", module("virtio_ring,virtio")},
      {modules + "fuse.ko", module("")},
      {modules + "virtiofs.ko.xz", packed(module("fuse,virtio_ring,virtio"), packing::xz)},
      {modules + "virtio_net.ko", module("virtio")},
      {modules + "virtio_balloon.ko", module("virtio")},
      {modules + "pvpanic.ko", module("")},
      {modules + "pvpanic-pci.ko", module("pvpanic")},
      {modules + "overlay.ko", module("")},
      {modules + "binfmt_misc.ko", module("")},
      {modules + "vsock.ko", module("")},
      {modules + "vmw_vsock_virtio_transport.ko", module("vsock,virtio")},
      {modules + "virtio_blk.ko", module("virtio_ring,virtio")},
      {modules + "unwanted.ko", "no module at all"},
  };
  return out;
}

std::string deb(const package_shape& shape) {
  const auto tar = [&](const std::vector<std::pair<std::string, std::string>>& files) {
    std::string out;
    archive::tar_writer writer([&](std::string_view piece) -> result<void> {
      out += piece;
      return {};
    });
    for (const auto& [path, content] : files)
      if (!writer.add({.name = path}, content)) throw std::runtime_error("tar");
    if (!writer.finish()) throw std::runtime_error("tar");
    return packed(out, shape.how);
  };
  const std::string control = "Package: " + shape.name + "\nVersion: " + shape.version +
                              "\nArchitecture: " + shape.architecture + "\nDescription: a kernel\n of a test\n";
  std::string out;
  ::archive* writer = archive_write_new();
  archive_write_set_format_ar_svr4(writer);
  archive_write_set_bytes_in_last_block(writer, 1);
  archive_write_open(writer, &out, nullptr, &append, nullptr);
  add_entry(writer, "debian-binary", "2.0\n");
  add_entry(writer, "control.tar.xz", tar({{"./control", control}, {"./md5sums", ""}}));
  add_entry(writer, "data.tar.xz", tar(shape.files));
  archive_write_close(writer);
  archive_write_free(writer);
  return out;
}

}  // namespace arca::vm::test
