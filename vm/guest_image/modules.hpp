// Which kernel modules the guest gets, and in which order they are loaded.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::vm {

/// Module names have "_" here, as in /proc/modules, whatever their files are called.
std::string module_name(std::string_view file_name);

/// What a kernel package holds.
struct module_store {
  std::map<std::string, std::string> files;  ///< name → content, perhaps compressed
  std::set<std::string> built_in;
};

struct kernel_module {
  std::string name;
  std::string content;  ///< not compressed
};
using module_group = std::vector<kernel_module>;  ///< in load order

/// What the guest needs: the first group at boot, the others when a call asks for their last module.
const std::vector<std::vector<std::string>>& wanted_modules();

/// The wanted modules with all that they depend on, dependencies first. A module of the first group is in no other;
/// groups that are empty then (all built in) are left out, the first one never. The packages have no modules.dep
/// (depmod makes it at installation): what it is made of, `depends=` of section .modinfo, is read.
/// errc::invalid_argument names the module that is missing or broken.
result<std::vector<module_group>> order_modules(const module_store& store,
                                                const std::vector<std::vector<std::string>>& wanted);

}  // namespace arca::vm
