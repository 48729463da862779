#include "actors/model/validate_vm.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "actors/model/validation.hpp"

namespace arca::model {
namespace {

bool has_entries(const nlohmann::json& host_config, const char* field) {
  const auto found = host_config.find(field);
  return found != host_config.end() && found->is_array() && !found->empty();
}

}  // namespace

tl::unexpected<error> refuse_in_vm(const std::string& option) {
  return fail(errc::invalid_argument, option +
                                          " is not possible with --runtime vm: a virtual machine has a kernel of "
                                          "its own; use --runtime namespace");
}

result<void> fits_in_vm(const nlohmann::json& hc) {
  if (text_of(hc, "NetworkMode") == "host") return refuse_in_vm("--network host");
  for (const auto& [field, option] : {std::pair{"PidMode", "--pid"}, {"IpcMode", "--ipc"}, {"UTSMode", "--uts"}})
    if (text_of(hc, field) == "host") return refuse_in_vm(std::string(option) + " host");
  if (has_entries(hc, "Devices")) return refuse_in_vm("--device");
  if (has_entries(hc, "DeviceRequests")) return refuse_in_vm("--gpus");
  if (!text_of(hc, "CgroupParent").empty()) return refuse_in_vm("--cgroup-parent");
  return {};
}

}  // namespace arca::model
