// Starts containers itself: namespaces, mounts, cgroup, capabilities and seccomp by system calls, no helper program.
// For VMs, where the machine is the boundary and its file system holds nothing else.
//
// A container's first process and its execs are direct children of the agent. Everything that needs memory (parsing,
// paths, detached mounts, the seccomp program) is made before the clone: the child of a process with threads may only
// make system calls. How it is done: guest/native/.
#pragma once
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guest/launcher.hpp"
#include "guest/loop.hpp"
#include "guest/reaper.hpp"
#include "guest/worker.hpp"

namespace arca::guest {

namespace native {
struct container_plan;
}

class native_launcher final : public launcher {
 public:
  /// `machine_dir`: a folder; each container's root is mounted on it in the container's own mount namespace.
  native_launcher(loop& on, reaper& children, const std::string& machine_dir);
  ~native_launcher() override;

  void create_container(create_spec spec, std::function<void(result<created>)> done) override;
  void exec(exec_spec spec, std::function<void(result<launched>)> done) override;
  void update_resources(const std::string& container_id, const std::string& resources,
                        std::function<void(result<void>)> done) override;
  void forget(const std::string& container_id) override;

 private:
  struct container;  // what an exec, an update and forget need of it
  struct launch;     // one process between clone and execve

  result<std::shared_ptr<launch>> prepare(create_spec& spec, container& into);
  /// What the spec names as "container:ID" (guest/proto/agent.proto) is opened.
  result<void> resolve_joined(native::container_plan& plan, create_spec& spec) const;
  /// A file of /proc/PID of a running container's first process.
  result<unique_fd> open_of(const std::string& container_id, const std::string& file) const;
  result<std::shared_ptr<launch>> prepare(exec_spec& spec, container& in);
  void start(const std::shared_ptr<launch>& it, std::function<void(result<launched>)> done);
  void start_exec(const std::shared_ptr<launch>& it);
  /// Execs that are over already and of which nobody has been told.
  void take_over_ended();
  void cloned(const std::shared_ptr<launch>& it, const result<void>& how, std::function<void(result<launched>)> done);
  /// False: there are more to come.
  bool read_reports(const std::shared_ptr<launch>& it, const std::function<void(result<launched>)>& done);

  loop& loop_;
  reaper& reaper_;
  worker threads_;                                           ///< stand still while an exec is launched
  std::atomic<std::chrono::nanoseconds::rep> usual_set_up_;  ///< how long an exec takes to be ready for execve
  std::vector<std::shared_ptr<launch>> execs_;               ///< that are being launched
  std::string machine_dir_;
  std::map<std::string, std::shared_ptr<container>> containers_;
};

}  // namespace arca::guest
