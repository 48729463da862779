#include "vm/guest_image/initramfs.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <map>
#include <memory>

namespace arca::vm {
namespace {

struct node {
  mode_t mode = 0;
  std::string_view content;
  unsigned major = 0, minor = 0;  // of a device
};
using tree = std::map<std::string, node>;  // sorted: a folder before what is in it

struct free_writer {
  void operator()(::archive* a) const { archive_write_free(a); }
};
struct free_entry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

la_ssize_t append(::archive*, void* into, const void* data, size_t size) {
  static_cast<std::string*>(into)->append(static_cast<const char*>(data), size);
  return static_cast<la_ssize_t>(size);
}

result<std::string> write_newc(const tree& nodes) {
  std::string out;
  const std::unique_ptr<::archive, free_writer> writer(archive_write_new());
  const auto failure = [&] {
    const char* why = archive_error_string(writer.get());
    return fail(errc::internal, std::string("write initramfs: ") + (why == nullptr ? "unknown error" : why));
  };
  archive_write_set_format_cpio_newc(writer.get());
  archive_write_set_bytes_per_block(writer.get(), 0);
  if (archive_write_open(writer.get(), &out, nullptr, &append, nullptr) != ARCHIVE_OK) return failure();
  int64_t inode = 0;
  for (const auto& [path, what] : nodes) {
    const std::unique_ptr<archive_entry, free_entry> entry(archive_entry_new());
    archive_entry_copy_pathname(entry.get(), path.c_str());
    archive_entry_set_mode(entry.get(), what.mode);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(what.content.size()));
    archive_entry_set_ino64(entry.get(), ++inode);
    archive_entry_set_nlink(entry.get(), S_ISDIR(what.mode) ? 2 : 1);  // the kernel takes more than one for a hard link
    archive_entry_set_mtime(entry.get(), 0, 0);
    archive_entry_set_rdevmajor(entry.get(), what.major);
    archive_entry_set_rdevminor(entry.get(), what.minor);
    if (archive_write_header(writer.get(), entry.get()) != ARCHIVE_OK) return failure();
    for (auto left = what.content; !left.empty();) {
      const la_ssize_t n = archive_write_data(writer.get(), left.data(), left.size());
      if (n <= 0) return failure();
      left.remove_prefix(static_cast<size_t>(n));
    }
  }
  if (archive_write_close(writer.get()) != ARCHIVE_OK) return failure();
  return out;
}

}  // namespace

result<std::string> make_initramfs(std::string_view agent, const std::vector<module_group>& modules, size_t limit) {
  tree nodes;
  for (const char* folder : {"dev", "etc", "lib", "lib/modules", "mnt", "proc", "run", "sys", "tmp"})
    nodes[folder] = {S_IFDIR | 0755, {}};
  nodes["tmp"].mode = S_IFDIR | 01777;
  nodes["dev/console"] = {S_IFCHR | 0600, {}, 5, 1};  // what the kernel gives process 1 as 0, 1 and 2
  nodes["init"] = {S_IFREG | 0755, agent};
  std::string order;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (i != 0) order += '\n';
    for (const auto& m : modules[i]) {
      const std::string path = "lib/modules/" + m.name + ".ko";
      order += "/" + path + "\n";
      nodes[path] = {S_IFREG | 0644, m.content};  // again, where two groups need it
    }
  }
  nodes["lib/modules/order"] = {S_IFREG | 0644, order};

  ARCA_TRY(out, write_newc(nodes));
  if (out.size() > limit)
    return fail(errc::invalid_argument, "the initramfs has " + std::to_string(out.size()) + " bytes, of them " +
                                            std::to_string(agent.size()) + " for the agent, and may have " +
                                            std::to_string(limit) + ": give a stripped agent with --guest-path");
  return out;
}

}  // namespace arca::vm
