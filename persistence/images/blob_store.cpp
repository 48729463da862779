#include "persistence/images/blob_store.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca::images {
namespace {

constexpr size_t max_blob = 64u << 20;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  struct close_dir {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  const std::unique_ptr<DIR, close_dir> dir(::opendir(folder.c_str()));
  if (dir)
    while (const dirent* entry = ::readdir(dir.get())) names.emplace_back(entry->d_name);
  return names;
}

}  // namespace

result<blob_store> blob_store::open(std::string folder) {
  folder += "/sha256";
  ARCA_CHECK(fs::make_dirs(folder, 0700));
  for (const auto& name : names_in(folder))
    if (name.find(".tmp-") != std::string::npos) ::unlink((folder + "/" + name).c_str());
  return blob_store(std::move(folder));
}

std::string blob_store::path_of(std::string_view digest) const {
  return folder_ + "/" + hex_of(digest);
}

result<std::string> blob_store::put(std::string_view data, std::string_view expected) {
  if (data.size() > max_blob) return fail(errc::invalid_argument, "blob is too large");
  const std::string digest = digest_of(data);
  if (!expected.empty() && digest != expected)
    return fail(errc::invalid_argument, "content digest is " + digest + ", not " + std::string(expected));
  if (::access(path_of(digest).c_str(), F_OK) == 0 && get(digest)) return digest;
  ARCA_CHECK(fs::write_file_atomic(path_of(digest), data, 0600, true));
  return digest;
}

result<std::string> blob_store::get(std::string_view digest) const {
  if (!is_digest(digest)) return fail(errc::invalid_argument, "invalid digest " + go_quote(digest));
  const std::string path = path_of(digest);
  auto data = fs::read_file(path, max_blob);
  if (!data && data.error().code() == errc::not_found)
    return fail(errc::not_found, "content " + std::string(digest) + ": not found");
  if (!data) return data;
  if (digest_of(*data) == digest) return data;
  const std::string aside = path + ".broken-" + random_hex(4);
  std::rename(path.c_str(), aside.c_str());
  log::error("blob is damaged: set aside", log::kv("digest", digest), log::kv("kept_as", aside));
  return fail(errc::internal, "content " + std::string(digest) + " is damaged");
}

bool blob_store::has(std::string_view digest) const {
  return is_digest(digest) && ::access(path_of(digest).c_str(), F_OK) == 0;
}

result<void> blob_store::remove(std::string_view digest) {
  if (!is_digest(digest)) return fail(errc::invalid_argument, "invalid digest " + go_quote(digest));
  if (::unlink(path_of(digest).c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + std::string(digest));
  return {};
}

std::vector<std::string> blob_store::list() const {
  std::vector<std::string> out;
  for (const auto& name : names_in(folder_))
    if (is_digest("sha256:" + name)) out.push_back("sha256:" + name);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace arca::images
