// The driver options of a bridge network (com.docker.network.…), read once when it is created.
#pragma once
#include "actors/network/network_record.hpp"

namespace arca {

/// Reads n.options into the fields they decide. errc::invalid_argument in Docker's words for a value that is none;
/// errc::unsupported for an option that Arca does not have. Options that nobody knows are kept and mean nothing, as in
/// Docker.
result<void> apply_bridge_options(network_record& n);

}  // namespace arca
