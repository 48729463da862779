#include "guest/native/mount_options.hpp"

#include <sys/mount.h>

#include <map>

#include "persistence/base/text.hpp"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace arca::guest::native {
namespace {

struct meaning {
  unsigned long flag;  ///< MS_…
  bool on;
  uint64_t attribute;  ///< MOUNT_ATTR_…, or a value of the group MOUNT_ATTR__ATIME; 0: of the file system only
  bool access_time = false;
};

const std::map<std::string, meaning>& meanings() {
  static const std::map<std::string, meaning> table = {
      {"ro", {MS_RDONLY, true, MOUNT_ATTR_RDONLY}},
      {"rw", {MS_RDONLY, false, MOUNT_ATTR_RDONLY}},
      {"nosuid", {MS_NOSUID, true, MOUNT_ATTR_NOSUID}},
      {"suid", {MS_NOSUID, false, MOUNT_ATTR_NOSUID}},
      {"nodev", {MS_NODEV, true, MOUNT_ATTR_NODEV}},
      {"dev", {MS_NODEV, false, MOUNT_ATTR_NODEV}},
      {"noexec", {MS_NOEXEC, true, MOUNT_ATTR_NOEXEC}},
      {"exec", {MS_NOEXEC, false, MOUNT_ATTR_NOEXEC}},
      {"nodiratime", {MS_NODIRATIME, true, MOUNT_ATTR_NODIRATIME}},
      {"diratime", {MS_NODIRATIME, false, MOUNT_ATTR_NODIRATIME}},
      {"nosymfollow", {MS_NOSYMFOLLOW, true, MOUNT_ATTR_NOSYMFOLLOW}},
      {"symfollow", {MS_NOSYMFOLLOW, false, MOUNT_ATTR_NOSYMFOLLOW}},
      {"noatime", {MS_NOATIME, true, MOUNT_ATTR_NOATIME, true}},
      {"atime", {MS_NOATIME, false, MOUNT_ATTR_RELATIME, true}},
      {"relatime", {MS_RELATIME, true, MOUNT_ATTR_RELATIME, true}},
      {"norelatime", {MS_RELATIME, false, MOUNT_ATTR_STRICTATIME, true}},
      {"strictatime", {MS_STRICTATIME, true, MOUNT_ATTR_STRICTATIME, true}},
      {"nostrictatime", {MS_STRICTATIME, false, MOUNT_ATTR_RELATIME, true}},
      {"sync", {MS_SYNCHRONOUS, true, 0}},
      {"async", {MS_SYNCHRONOUS, false, 0}},
      {"dirsync", {MS_DIRSYNC, true, 0}},
      {"mand", {MS_MANDLOCK, true, 0}},
      {"nomand", {MS_MANDLOCK, false, 0}},
      {"silent", {MS_SILENT, true, 0}},
      {"loud", {MS_SILENT, false, 0}},
      {"iversion", {MS_I_VERSION, true, 0}},
      {"noiversion", {MS_I_VERSION, false, 0}},
  };
  return table;
}

void apply(const meaning& what, uint64_t& set, uint64_t& clear) {
  if (what.access_time) {  // a group of values, not bits: all of it is cleared before one is set
    set = (set & ~uint64_t{MOUNT_ATTR__ATIME}) | what.attribute;
    clear |= MOUNT_ATTR__ATIME;
  } else if (what.on) {
    set |= what.attribute;
    clear &= ~what.attribute;
  } else {
    set &= ~what.attribute;
    clear |= what.attribute;
  }
}
}  // namespace

unsigned long propagation_of(const std::string& word, bool& below) {
  static const std::map<std::string, unsigned long> table = {
      {"private", MS_PRIVATE}, {"slave", MS_SLAVE}, {"shared", MS_SHARED}, {"unbindable", MS_UNBINDABLE}};
  const bool recursive = starts_with(word, "r");
  const auto found = table.find(recursive ? word.substr(1) : word);
  if (found == table.end()) return 0;
  below = recursive;
  return found->second;
}

result<mount_options> parse_mount_options(const std::vector<std::string>& options) {
  mount_options out;
  for (const auto& option : options) {
    if (option.empty() || option == "defaults") continue;
    if (option.find('\0') != std::string::npos) return fail(errc::invalid_argument, "NUL byte in a mount option");
    if (option == "bind" || option == "rbind") {
      out.bind = true;
      out.recursive = option == "rbind";
      continue;
    }
    if (const auto propagation = propagation_of(option, out.propagation_below); propagation != 0) {
      out.propagation = propagation;
      continue;
    }
    if (option == "idmap" || option == "ridmap" || option == "tmpcopyup" || option == "remount")
      return fail(errc::unsupported, "mount option " + go_quote(option) + " is not supported in a VM");
    if (const auto found = meanings().find(option); found != meanings().end()) {
      const auto& what = found->second;
      out.flags = what.on ? out.flags | what.flag : out.flags & ~what.flag;
      if (what.attribute != 0 || what.access_time) apply(what, out.set, out.clear);
      continue;
    }
    const auto found = option[0] == 'r' ? meanings().find(option.substr(1)) : meanings().end();
    if (found != meanings().end() && (found->second.attribute != 0 || found->second.access_time)) {
      apply(found->second, out.set_below, out.clear_below);
      continue;
    }
    if (!out.data.empty()) out.data += ',';
    out.data += option;
  }
  return out;
}

}  // namespace arca::guest::native
