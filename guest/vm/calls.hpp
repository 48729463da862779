// The calls that only a machine with a kernel of its own can serve: its file systems, devices, clock, sysctls. What may
// block is done by the worker's threads. On the loop.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "guest/agent.hpp"
#include "guest/net_config.hpp"
#include "guest/vm/identity.hpp"
#include "guest/vm/kernel_modules.hpp"
#include "guest/vm/mounts.hpp"
#include "guest/worker.hpp"
#include "persistence/base/error.hpp"

namespace arca::guest {

class vm_calls {
 public:
  using reply = std::function<void(result<void>)>;
  static constexpr size_t most_content = 1u << 20;  ///< of a written file

  vm_calls(agent& what, worker& threads, kernel_modules& modules) : agent_(what), worker_(threads), modules_(modules) {}

  /// The first thing that a machine is told. An empty seed and a time of 0 change nothing.
  static result<void> greet(const std::string& seed, int64_t now);
  /// `token`: under which a mount without a target is kept.
  void mount(const mount_call& what, const std::string& token, const reply& done);
  void unmount(const std::string& target, bool detach, reply done);
  void write_file(const std::string& container, const std::string& path, const std::string& content, uint32_t mode,
                  const reply& done);
  void make_directory(const std::string& container, const std::string& path, uint32_t mode, bool parents,
                      const reply& done);
  static result<void> set_sysctls(const std::map<std::string, std::string>& sysctls);
  void set_up_emulator(const emulator& what, reply done);
  /// Waits some seconds for the device. With a container, in a network namespace that is kept for it.
  void configure_interface(const interface_config& config, const std::string& container, reply done);

 private:
  /// The container's, or the machine's.
  result<std::shared_ptr<const unique_fd>> root(const std::string& container) const;

  agent& agent_;
  worker& worker_;
  kernel_modules& modules_;
};

}  // namespace arca::guest
