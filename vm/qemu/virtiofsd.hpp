// One virtiofsd, the server of one share of one machine. It ends by itself when QEMU goes away. When it dies first the
// guest hangs in uninterruptible reads, so its end must be the machine's.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/qemu/child_process.hpp"

namespace arca::vm {

enum class virtiofsd_flavour : uint8_t {
  c,     ///< of QEMU 7.2 (Debian 12): -o source=…
  rust,  ///< --shared-dir …
};

struct virtiofsd_program {
  std::string path;
  virtiofsd_flavour flavour = virtiofsd_flavour::c;
};

/// The first one that is there, its flavour by what `--version` prints. errc::unsupported with the remedy.
result<virtiofsd_program> find_virtiofsd();

enum class share_cache : uint8_t {
  exclusive,  ///< one machine owns the tree: pages are kept, writes are delayed
  shared,     ///< others change it too: looked at again at each open
};

/// Pure. `socket` is the number of the listening socket in the process.
std::vector<std::string> virtiofsd_arguments(const virtiofsd_program& program, const std::string& folder,
                                             share_cache cache, int socket);

struct share_plan {
  std::string dir;  ///< of the machine: log and mount points are made here
  std::string tag;
  share_cache cache = share_cache::shared;
  struct entry {
    int tree;          ///< a detached mount
    std::string name;  ///< below the share's folder; empty: the tree is the share itself
    bool is_folder = true;
  };
  std::vector<entry> entries;
  std::vector<int> cgroups;
};

struct running_share {
  child_process process;
  unique_fd socket;  ///< connected, for QEMU
};

/// Starts it with the trees mounted in its own namespace. `dir`/`tag` keeps the empty mount points.
result<running_share> start_virtiofsd(const virtiofsd_program& program, const share_plan& plan);

}  // namespace arca::vm
