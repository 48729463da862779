#include "vm/guest_image/kernel.hpp"

#include <cstdint>
#include <cstring>

#include "persistence/archive/decompress.hpp"
#include "vm/guest_image/elf.hpp"

namespace arca::vm {
namespace {
// Offsets in the setup header, Documentation/x86/boot.rst.
constexpr size_t setup_sectors_at = 0x1f1, magic_at = 0x202, version_at = 0x206, payload_offset_at = 0x248,
                 payload_length_at = 0x24c, header_end = 0x250;
constexpr uint16_t first_version_with_payload = 0x0208;
constexpr size_t sector = 512;
constexpr uint32_t largest_kernel = 256u << 20;
constexpr uint32_t note_phys32_entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY, xen/interface/elfnote.h

template <class T>
T little_endian(std::string_view data, size_t at) {
  T out = 0;
  for (size_t i = sizeof(T); i-- > 0;) out = static_cast<T>(out << 8 | static_cast<uint8_t>(data[at + i]));
  return out;
}

tl::unexpected<error> bad(const std::string& why) {
  return fail(errc::invalid_argument, "kernel: " + why);
}
}  // namespace

result<std::string> vmlinux_of(std::string_view bzimage) {
  if (bzimage.size() < header_end || bzimage.substr(magic_at, 4) != "HdrS") return bad("not a bzImage");
  if (little_endian<uint16_t>(bzimage, version_at) < first_version_with_payload)
    return bad("the boot protocol is older than 2.08");
  const uint64_t sectors = static_cast<uint8_t>(bzimage[setup_sectors_at]);
  const uint64_t start =
      ((sectors == 0 ? 4 : sectors) + 1) * sector + little_endian<uint32_t>(bzimage, payload_offset_at);
  const uint64_t length = little_endian<uint32_t>(bzimage, payload_length_at);
  if (length < 8 || start > bzimage.size() || length > bzimage.size() - start)
    return bad("the payload lies outside of it");
  const auto payload = bzimage.substr(start, length);
  // Whatever the compressor, the last four bytes say how much comes out.
  const auto size = little_endian<uint32_t>(payload, length - 4);
  if (size > largest_kernel) return bad("the payload says " + std::to_string(size) + " bytes");

  std::string out;
  out.reserve(size);
  // gzip has that as a part of its own, behind the others it was appended.
  const bool gzip = archive::detect_compression(payload) == archive::compression::gzip;
  const auto source = archive::decompress_with_lz4(archive::source_of(gzip ? payload : payload.substr(0, length - 4)));
  while (out.size() < size) {
    auto piece = source();
    if (!piece) return bad(piece.error().message());
    if (piece->empty()) break;
    if (piece->size() > size - out.size()) return bad("the payload is longer than it says");
    out += *piece;
  }
  if (out.size() != size) return bad("the payload ends early");
  if (!elf::is_x86_64(out)) return bad("the payload is no kernel for x86-64");
  if (!elf::has_note(out, "Xen", note_phys32_entry)) return bad("it has no PVH entry (CONFIG_PVH)");
  return out;
}

}  // namespace arca::vm
