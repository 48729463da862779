// manifest.json: what a guest in DATA_ROOT/guest/VERSION/ was made of.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/guest_image/files.hpp"
#include "vm/guest_image/kernel_package.hpp"

namespace arca::vm {

struct manifest {
  std::string version;  ///< of the guest, and the name of its folder
  std::string made_at;  ///< RFC 3339
  std::string arca_version;
  uint32_t protocol_version = 0;  ///< guest/proto/version.hpp
  std::string kernel_release;
  package_id package;
  file_digest package_file;
  file_digest agent;                              ///< the program; its version is arca_version
  std::vector<std::vector<std::string>> modules;  ///< as they were wished for
  file_digest kernel, initrd;
};

inline constexpr const char* manifest_file = "manifest.json";
inline constexpr const char* kernel_file = "vmlinux";
inline constexpr const char* initrd_file = "initrd";

/// The version of the guest that is made of these: "6.1.192-2-1a2b3c4d". Where two have the same, they are the same.
std::string guest_version(const package_id& package, const file_digest& agent,
                          const std::vector<std::vector<std::string>>& modules);

std::string to_json(const manifest& m);
/// errc::invalid_argument: not one of ours.
result<manifest> parse_manifest(std::string_view text);
/// Of the guest in this folder. errc::not_found: there is none. Also checks that the folder is named as it says.
result<manifest> read_manifest(const std::string& folder);

}  // namespace arca::vm
