// What a container in a virtual machine cannot have: it has a kernel, devices and namespaces of its own.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "persistence/base/error.hpp"

namespace arca::model {

/// errc::invalid_argument with one sentence that names the option; docs/limitations.md lists them.
result<void> fits_in_vm(const nlohmann::json& host_config);
/// The same sentence for another option.
tl::unexpected<error> refuse_in_vm(const std::string& option);

}  // namespace arca::model
