// The fields of the first paragraph of a Debian control file, as `apt-cache show` prints it too (deb-control(5)).
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "vm/guest_image/kernel_package.hpp"

namespace arca::vm {

class package_fields {
 public:
  explicit package_fields(std::string_view text);
  /// Value without its continuation lines; empty when there is no such field. Names are taken as Debian writes them.
  std::string operator[](const std::string& name) const;

 private:
  std::map<std::string, std::string> fields_;
};

/// The one package of a Depends field whose name begins with `prefix`, and its version. Empty: there is none, there are
/// several, or it is not bound to one version ("(= 6.1.192-2)").
std::optional<package_id> exact_dependency(std::string_view depends, std::string_view prefix);

}  // namespace arca::vm
