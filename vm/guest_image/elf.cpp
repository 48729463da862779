#include "vm/guest_image/elf.hpp"

#include <elf.h>

#include <cstring>

namespace arca::vm::elf {
namespace {

template <class T>
std::optional<T> at(std::string_view file, uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, file.data() + offset, sizeof out);
  return out;
}

std::optional<std::string_view> range(std::string_view file, uint64_t offset, uint64_t size) {
  if (offset > file.size() || size > file.size() - offset) return std::nullopt;
  return file.substr(offset, size);
}

std::optional<Elf64_Shdr> section_header(std::string_view file, const Elf64_Ehdr& head, unsigned index) {
  if (index >= head.e_shnum || head.e_shentsize != sizeof(Elf64_Shdr)) return std::nullopt;
  if (head.e_shoff > file.size()) return std::nullopt;
  return at<Elf64_Shdr>(file, head.e_shoff + uint64_t{index} * sizeof(Elf64_Shdr));
}

/// Calls `with` for each program header until it answers true; whether it did.
template <class F>
bool any_segment(std::string_view file, F with) {
  const auto head = at<Elf64_Ehdr>(file, 0);
  if (!head || head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phoff > file.size()) return false;
  for (unsigned i = 0; i < head->e_phnum; ++i) {
    const auto segment = at<Elf64_Phdr>(file, head->e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
    if (!segment) return false;
    if (with(*segment)) return true;
  }
  return false;
}

}  // namespace

bool is_x86_64(std::string_view file) {
  const auto head = at<Elf64_Ehdr>(file, 0);
  return head && std::memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
         head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_machine == EM_X86_64;
}

std::optional<std::string_view> section(std::string_view file, std::string_view name) {
  const auto head = at<Elf64_Ehdr>(file, 0);
  if (!head || !is_x86_64(file)) return std::nullopt;
  const auto names_header = section_header(file, *head, head->e_shstrndx);
  if (!names_header) return std::nullopt;
  const auto names = range(file, names_header->sh_offset, names_header->sh_size);
  if (!names) return std::nullopt;
  for (unsigned i = 0; i < head->e_shnum; ++i) {
    const auto header = section_header(file, *head, i);
    if (!header) return std::nullopt;
    if (header->sh_name >= names->size()) continue;
    const auto rest = names->substr(header->sh_name);
    if (rest.substr(0, rest.find('\0')) == name) return range(file, header->sh_offset, header->sh_size);
  }
  return std::nullopt;
}

bool needs_loader(std::string_view file) {
  return any_segment(file, [](const Elf64_Phdr& segment) { return segment.p_type == PT_INTERP; });
}

bool has_note(std::string_view file, std::string_view owner, uint32_t type) {
  const auto padded = [](uint64_t size) { return (size + 3) & ~uint64_t{3}; };
  return any_segment(file, [&](const Elf64_Phdr& segment) {
    if (segment.p_type != PT_NOTE) return false;
    const auto notes = range(file, segment.p_offset, segment.p_filesz);
    for (uint64_t offset = 0; notes;) {
      const auto note = at<Elf64_Nhdr>(*notes, offset);
      if (!note) return false;
      const auto found = range(*notes, offset + sizeof *note, note->n_namesz);
      if (!found) return false;
      if (note->n_type == type && found->substr(0, found->find('\0')) == owner) return true;
      offset += sizeof *note + padded(note->n_namesz) + padded(note->n_descsz);
    }
    return false;
  });
}

}  // namespace arca::vm::elf
