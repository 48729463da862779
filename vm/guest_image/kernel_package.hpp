// Reads a Debian kernel package (linux-image-…) without installing it: nothing of it runs, nothing is unpacked to disk.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "vm/guest_image/modules.hpp"

namespace arca::vm {

/// Name and version of a package; both are checked to be what Debian Policy allows, so they are safe in paths.
struct package_id {
  std::string name, version, architecture;
  bool operator==(const package_id& other) const {
    return name == other.name && version == other.version && architecture == other.architecture;
  }
};

struct kernel_package {
  package_id id;
  std::string release;  ///< as uname -r says: "6.1.0-56-cloud-amd64"
  std::string bzimage;
  module_store modules;
};

/// Whether these may be a package's name and version (Debian Policy 5.6.1, 5.6.12).
bool valid_package(const package_id& id);
/// From the control file alone: quick.
result<package_id> identify_package(const std::string& deb_file);
/// errc::not_found: no such file; errc::invalid_argument: no kernel package, broken, or beyond all measure.
result<kernel_package> read_kernel_package(const std::string& deb_file);

}  // namespace arca::vm
