// What Debian's package manager knows and fetches. Nothing is installed.
#pragma once
#include <cstdint>
#include <string>

#include "persistence/base/error.hpp"
#include "vm/guest_image/kernel_package.hpp"

namespace arca::vm::apt {

struct record {
  package_id id;
  uint64_t size = 0;
  std::string sha256;  ///< from the signed lists
};

/// The kernel that `linux-image-cloud-amd64` stands for: its one dependency, to the version. No name is guessed: other
/// kernels of the same series have names that begin alike. errc::not_found: this host's lists do not have it (or there
/// are none); errc::unsupported: there is no apt-get.
result<package_id> cloud_kernel();
/// Fetches the lists anew and answers as cloud_kernel() then. errc::unavailable: the lists could not be fetched, or
/// they do not have it.
result<package_id> updated_cloud_kernel();
/// Size and checksum of exactly this version.
result<record> look_up(const package_id& id);
/// Fetches it into `folder`, which exists, and checks it against the record. Returns the file's path.
/// errc::unavailable: not to be had.
result<std::string> download(const record& wanted, const std::string& folder);

}  // namespace arca::vm::apt
