// The kernel modules that came with the machine (guest/proto/vm_start.hpp: /lib/modules/order).
#pragma once
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest {

class kernel_modules {
 public:
  /// `order`: text of the file; paths in it that are not absolute are below `folder`.
  kernel_modules(std::string_view order, const std::string& folder);

  /// Those before the first empty line.
  result<void> load_first();
  /// With what it needs. Nothing is done for a name that is not there (it may be built in) or is loaded. Any thread.
  result<void> load(const std::string& name);

 private:
  result<void> load_with_needs(const std::string& name);
  result<void> insert(const std::string& name) const;

  std::vector<std::string> first_;            // names
  std::map<std::string, std::string> paths_;  // by name
  std::mutex guard_;
  std::set<std::string> loaded_;
};

/// The names in `depends=` of a module's .modinfo section, with '_' for '-'.
std::vector<std::string> module_needs(std::string_view module);

}  // namespace arca::guest
