// Starts containers with crun, else runc: one run of the program per process, everything else in files of the machine's
// folder (which is on tmpfs).
#pragma once
#include <memory>
#include <string>

#include "guest/launcher.hpp"
#include "guest/loop.hpp"
#include "guest/reaper.hpp"
#include "guest/spawn.hpp"

namespace arca::guest {

class crun_launcher final : public launcher {
 public:
  /// `folder`: the machine's, at most guest_start::max_machine_dir bytes long.
  crun_launcher(loop& on, reaper& children, std::string folder);

  void create_container(create_spec spec, std::function<void(result<created>)> done) override;
  void exec(exec_spec spec, std::function<void(result<launched>)> done) override;
  void update_resources(const std::string& container_id, const std::string& resources,
                        std::function<void(result<void>)> done) override;
  void forget(const std::string& container_id) override;

 private:
  struct run;  // one run of the program: its files, its end
  std::shared_ptr<run> prepare();
  /// Runs the program with its global options and `arguments`; `done` with success or the program's words.
  void start(const std::shared_ptr<run>& it, std::vector<std::string> arguments, const child_stdio& stdio,
             std::function<void(result<void>)> done);
  result<launched> outcome(run& it);
  std::string bundle_of(const std::string& container_id) const;

  loop& loop_;
  reaper& reaper_;
  std::string folder_;
  program program_;
  bool crun_ = true;
  uint64_t runs_ = 0;
};

}  // namespace arca::guest
