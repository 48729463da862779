#include "actors/volume/volume_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>

#include "actors/volume/volume_record.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
constexpr std::string_view hidden_prefix = ".removing-";  // then NAME, '-' and 8 hex digits

bool is_folder(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}
}  // namespace

result<void> make_volume(const std::string& root, const std::string& name) {
  ARCA_CHECK(fs::make_dirs(root, 0701));
  for (const auto& [path, mode] : {std::pair{root + '/' + name, 0701}, {root + '/' + name + "/_data", 0755}}) {
    if (::mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST && is_folder(path)) continue;
      return fail_errno("mkdir " + path);
    }
    if (::chmod(path.c_str(), static_cast<mode_t>(mode)) != 0)
      return fail_errno("chmod " + path);  // whatever the umask
    failpoint::reached("volume-folder");
  }
  return {};
}

result<std::string> hide_volume(const std::string& root, const std::string& name) {
  const std::string hidden = std::string(hidden_prefix) + name + '-' + random_hex(4);
  if (::rename((root + '/' + name).c_str(), (root + '/' + hidden).c_str()) == 0) {
    failpoint::reached("volume-hidden");
    return hidden;
  }
  if (errno == ENOENT) return std::string{};
  return fail_errno("remove volume " + name);
}

result<void> unhide_volume(const std::string& root, const std::string& hidden, const std::string& name) {
  if (!hidden.empty() && ::rename((root + '/' + hidden).c_str(), (root + '/' + name).c_str()) != 0)
    return fail_errno("restore volume " + name);
  return {};
}

result<volume_folders> scan_volumes(const std::string& root) {
  volume_folders found;
  if (!is_folder(root)) return found;
  ARCA_TRY(entries, fs::list(root));
  for (const auto& entry : entries) {
    if (starts_with(entry, hidden_prefix) && entry.size() > hidden_prefix.size() + 9) {
      found.removing.push_back({entry, entry.substr(hidden_prefix.size(), entry.size() - hidden_prefix.size() - 9)});
      continue;
    }
    const auto data = root + '/' + entry + "/_data";
    if (!check_volume_name(entry) || !is_folder(root + '/' + entry)) continue;
    auto content = fs::list(data);
    (content && !content->empty() ? found.names : found.leftover).push_back(entry);
  }
  return found;
}

int64_t volume_size(const std::string& root, const std::string& name) {
  std::string path = root + '/' + name + "/_data";
  char* const roots[] = {path.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> walk(fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, nullptr),
                                                 fts_close);
  if (!walk) return -1;
  std::set<std::pair<dev_t, ino_t>> seen;
  int64_t size = 0;
  while (const FTSENT* entry = fts_read(walk.get())) {
    if (entry->fts_info != FTS_F && entry->fts_info != FTS_SL && entry->fts_info != FTS_DEFAULT) continue;
    const auto* st = entry->fts_statp;
    if (st->st_nlink > 1 && !seen.emplace(st->st_dev, st->st_ino).second) continue;
    size += st->st_size;
  }
  return size;
}

}  // namespace arca
