// `arca setup`: makes the guest of virtual machines out of Debian's kernel package and the agent, in
// DATA_ROOT/guest/VERSION/, and makes it the current one. Nothing is installed on the host.
#pragma once
#include <functional>
#include <string>

#include "persistence/base/error.hpp"
#include "vm/guest_image/manifest.hpp"

namespace arca::vm {

struct setup_order {
  std::string data_root;
  std::string agent_path;                        ///< arca-guest, statically linked
  std::string package_file;                      ///< a kernel package to be used; empty: Debian's
  bool force = false;                            ///< also when nothing has changed
  std::function<void(const std::string&)> note;  ///< what takes time is said before it begins
};

struct setup_outcome {
  manifest guest;
  bool made = false;  ///< false: the same guest was there, whole
};

/// The guest is there whole or not at all, and becomes current at once; what an earlier run left half-made is removed.
/// The same package and agent give the same files. Takes seconds, or some 100 ms when nothing has changed; then it
/// needs no network. Errors are one sentence that says what to do.
result<setup_outcome> set_up_guest(const setup_order& order);

}  // namespace arca::vm
