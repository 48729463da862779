// What a process tells the agent between clone and execve, over one end of a SOCK_SEQPACKET pair that execve closes.
#pragma once
#include <cstdint>

#include "guest/native/problem.hpp"

namespace arca::guest::native {

struct report {
  enum class kind : uint32_t {
    terminal = 1,  ///< carries the master
    ready,         ///< all is set up, execve is next: the end of the channel without it is a process that was killed
    failed         ///< `why`; the process exits
  };
  kind what = kind::failed;
  problem why;
};

/// For the child: false with errno.
bool send_report(int channel, report::kind what, const problem& why = {}) noexcept;
bool send_terminal(int channel, int master) noexcept;

}  // namespace arca::guest::native
