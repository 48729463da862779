// Where a guest's kernel package comes from: a file that was given, the one of the last time, or Debian's servers.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "vm/guest_image/kernel_package.hpp"

namespace arca::vm {

class package_source {
 public:
  /// `folder` is DATA_ROOT/guest; `given` a .deb of the user's, or empty.
  package_source(const std::string& folder, std::string given);

  /// Which package it is: the given one, or Debian's cloud kernel by this host's package lists (errc::not_found when
  /// they do not say, errc::unsupported without apt-get). Needs no network.
  result<package_id> identify() const;
  /// Path of that package: given, kept, or downloaded into `work`. errc::unavailable: not to be had.
  result<std::string> fetch(const package_id& id, const std::string& work) const;
  /// The package that was kept last time, if it is this one and whole; empty otherwise.
  std::string kept(const package_id& id) const;
  /// Keeps the package, whose SHA-256 this is, for the next guest, so that it needs no network; any other is removed.
  result<void> keep(const package_id& id, const std::string& file, const std::string& sha256) const;

 private:
  std::string folder_, given_;
};

}  // namespace arca::vm
