#include "vm/qemu/device_plan.hpp"

#include <algorithm>
#include <iterator>

#include "vm/oci/json_access.hpp"

namespace arca::vm {

result<plugged_device> device_plan::take(const std::string& kind, const std::string& name, const std::string& owner) {
  if (find(name, owner))
    return fail(errc::conflict, "a device named " + name + " is plugged into the virtual machine already");
  if (const auto free = best(); free && free->second <= clock::now()) {
    plugged_device device{kind + std::to_string(next_++), free->first, name, owner};
    devices_.push_back(device);
    return device;
  }
  return fail(errc::unavailable,
              "the virtual machine has room for " + std::to_string(ports_) + " devices, and all of it is taken");
}

std::optional<std::pair<std::string, device_plan::clock::time_point>> device_plan::best() const {
  std::optional<std::pair<std::string, clock::time_point>> out;
  for (unsigned i = 0; i < ports_; ++i) {
    const auto port = "rp" + std::to_string(i);
    if (std::any_of(devices_.begin(), devices_.end(), [&](const auto& d) { return d.port == port; })) continue;
    const auto found = resting_.find(port);
    const auto until = found == resting_.end() ? clock::time_point::min() : found->second;
    if (!out || until < out->second) out = {port, until};
  }
  return out;
}

std::optional<device_plan::clock::time_point> device_plan::rested() const {
  const auto free = best();
  return free ? std::optional(free->second) : std::nullopt;
}

std::optional<plugged_device> device_plan::find(const std::string& name, const std::string& owner) const {
  const auto at =
      std::find_if(devices_.begin(), devices_.end(), [&](const auto& d) { return d.name == name && d.owner == owner; });
  if (at == devices_.end()) return std::nullopt;
  return *at;
}

std::vector<plugged_device> device_plan::of(const std::string& owner) const {
  std::vector<plugged_device> out;
  std::copy_if(devices_.begin(), devices_.end(), std::back_inserter(out),
               [&](const auto& d) { return d.owner == owner; });
  return out;
}

void device_plan::free(const std::string& id) {
  for (const auto& d : devices_)
    if (d.id == id) resting_[d.port] = clock::now() + rest;
  std::erase_if(devices_, [&](const auto& d) { return d.id == id; });
}

nlohmann::json device_plan::to_json() const {
  auto list = nlohmann::json::array();
  for (const auto& d : devices_) list.push_back({{"id", d.id}, {"port", d.port}, {"name", d.name}, {"owner", d.owner}});
  return {{"ports", ports_}, {"next", next_}, {"plugged", std::move(list)}};
}

device_plan device_plan::from_json(const nlohmann::json& document) {
  device_plan plan(static_cast<unsigned>(std::clamp<int64_t>(oci::integer_or(document, "ports", 0), 0, 32)));
  plan.next_ = static_cast<uint64_t>(std::max<int64_t>(1, oci::integer_or(document, "next", 1)));
  for (unsigned i = 0; i < plan.ports_; ++i) plan.resting_["rp" + std::to_string(i)] = clock::now() + rest;
  const auto& list = oci::member(document, "plugged");
  if (list.is_array())
    for (const auto& entry : list) {
      plugged_device d{oci::text(entry, "id"), oci::text(entry, "port"), oci::text(entry, "name"),
                       oci::text(entry, "owner")};
      if (!d.id.empty() && !d.port.empty() && plan.devices_.size() < plan.ports_) plan.devices_.push_back(std::move(d));
    }
  return plan;
}

}  // namespace arca::vm
