// A look into a 64-bit ELF file in memory (kernel, module, program). Nothing of the file is believed: what lies outside
// of it is as good as absent.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace arca::vm::elf {

/// Whether it is a little-endian ELF64 file for x86-64.
bool is_x86_64(std::string_view file);
/// The bytes of the first section of this name.
std::optional<std::string_view> section(std::string_view file, std::string_view name);
/// Whether it asks for a loader (PT_INTERP): a static program does not.
bool needs_loader(std::string_view file);
/// Whether a PT_NOTE segment holds a note of this owner and type.
bool has_note(std::string_view file, std::string_view owner, uint32_t type);

}  // namespace arca::vm::elf
