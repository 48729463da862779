#include "vm/guest_image/installed.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/files.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/manifest.hpp"

namespace arca::vm {
namespace {
constexpr const char* current_link = "/current";

/// Folders in `path`; none where it is missing.
result<std::vector<std::string>> folders_in(const std::string& path) {
  auto names = fs::list(path);
  if (!names && names.error().code() == errc::not_found) return std::vector<std::string>();
  if (!names) return names;
  std::vector<std::string> out;
  for (const auto& name : *names) {
    struct stat st {};
    if (::lstat((path + "/" + name).c_str(), &st) == 0 && S_ISDIR(st.st_mode)) out.push_back(path + "/" + name);
  }
  return out;
}

/// The guests that running machines were started with. Each kind of machine has a folder in RUN_ROOT.
result<std::set<std::string>> versions_in_use(const std::string& run_root) {
  std::set<std::string> out;
  ARCA_TRY(kinds, folders_in(run_root));
  for (const auto& kind : kinds) {
    ARCA_TRY(machines, folders_in(kind));
    for (const auto& machine : machines) {
      const std::string path = machine + "/machine.json";
      const auto text = fs::read_file(path, 1u << 20);
      if (!text && text.error().code() == errc::not_found) continue;  // a namespace machine, or gone meanwhile
      const auto document = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
      if (!document.is_object())
        return fail(errc::conflict,
                    path + " cannot be read, so that its machine's guest is unknown: nothing was removed");
      if (const auto guest = document.find("guest"); guest != document.end() && guest->is_string())
        out.insert(guest->get<std::string>());
    }
  }
  return out;
}

}  // namespace

std::string current_version(const std::string& data_root) {
  std::array<char, 256> target{};
  const ssize_t n = ::readlink((guests_folder(data_root) + current_link).c_str(), target.data(), target.size());
  if (n <= 0 || static_cast<size_t>(n) == target.size()) return {};
  std::string version(target.data(), static_cast<size_t>(n));
  if (version.find('/') != std::string::npos || version.front() == '.') return {};
  return version;
}

result<void> make_current(const std::string& data_root, const std::string& version) {
  const std::string folder = guests_folder(data_root);
  const std::string temporary = folder + "/.current-" + random_hex(6);
  if (::symlink(version.c_str(), temporary.c_str()) != 0) return fail_errno("link " + temporary);
  if (::rename(temporary.c_str(), (folder + current_link).c_str()) != 0) {
    auto failure = fail_errno("rename " + temporary);
    ::unlink(temporary.c_str());
    return failure;
  }
  return sync_folder(folder);
}

result<unique_fd> lock_guests(const std::string& data_root) {
  const std::string path = guests_folder(data_root) + "/.lock";
  ARCA_TRY(fd, fs::open(path, O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return std::move(fd);
  if (errno == EWOULDBLOCK)
    return fail(errc::conflict, "another `arca setup` works in " + guests_folder(data_root) + ": wait for it");
  return fail_errno("lock " + path);
}

result<std::vector<std::string>> installed_versions(const std::string& data_root) {
  ARCA_TRY(folders, folders_in(guests_folder(data_root)));
  std::vector<std::string> out;
  for (const auto& folder : folders) {
    auto name = folder.substr(folder.rfind('/') + 1);
    if (name.front() != '.' && name != "packages") out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

result<std::vector<std::string>> prune_guests(const std::string& data_root, const std::string& run_root) {
  if (::access(guests_folder(data_root).c_str(), F_OK) != 0) return std::vector<std::string>();
  const auto lock = lock_guests(data_root);
  if (!lock) return fail(lock.error());
  ARCA_TRY(used, versions_in_use(run_root));
  ARCA_TRY(versions, installed_versions(data_root));
  const std::string current = current_version(data_root);
  std::vector<std::string> out;
  for (const auto& version : versions) {
    if (version == current || used.count(version) != 0) continue;
    ARCA_CHECK(fs::remove_tree(guests_folder(data_root) + "/" + version));
    out.push_back(version);
  }
  return out;
}

}  // namespace arca::vm
