// Which root port of a machine holds which plugged device. pcie.0 takes no hotplug; a port takes one device and is free
// again only after DEVICE_DELETED, and then rests: Linux (pciehp) sleeps for a second after it has taken power off a
// slot, and forgets what was plugged in that time. Ids are never used twice in a machine: QEMU may still know the old
// one.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::vm {

struct plugged_device {
  std::string id;     ///< "nic3": of the device; its backend is id + "-backend"
  std::string port;   ///< "rp1"
  std::string name;   ///< "eth0", a share's tag
  std::string owner;  ///< id of the container that it is for

  bool is_share() const { return id.starts_with("share"); }
  std::string backend() const { return id + "-backend"; }
};

class device_plan {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds rest{2000};

  explicit device_plan(unsigned ports) : ports_(ports) {}

  /// Takes the free port that has been so for the longest time. errc::conflict when that container has a device of that
  /// name, errc::unavailable when no port is free, or all that are rest until rested().
  result<plugged_device> take(const std::string& kind, const std::string& name, const std::string& owner);
  std::optional<plugged_device> find(const std::string& name, const std::string& owner) const;
  std::vector<plugged_device> of(const std::string& owner) const;
  void free(const std::string& id);
  /// When the first of the free ports has rested; empty: none is free.
  std::optional<clock::time_point> rested() const;
  /// One that no device of this machine has had, for names.
  uint64_t fresh_number() { return next_++; }

  nlohmann::json to_json() const;
  /// Of machine.json; what does not fit is left out. Nobody knows since when the free ports are: they rest.
  static device_plan from_json(const nlohmann::json& document);

 private:
  /// The free port that has rested first, and when.
  std::optional<std::pair<std::string, clock::time_point>> best() const;

  unsigned ports_;
  uint64_t next_ = 1;
  std::map<std::string, clock::time_point> resting_;  ///< by port: until when
  std::vector<plugged_device> devices_;
};

}  // namespace arca::vm
