// Standard input and output at the ends of a connection.
#pragma once
#include "tools/arca/api_client.hpp"

namespace arca::cli {

/// Until the far side has ended. The end of standard input is passed on; with `datagrams` there is no such thing, and
/// after it two seconds without an answer are the end. The exit code: 0, or 1 when a side broke.
int exchange(api_client::hijacked with, bool datagrams);

}  // namespace arca::cli
