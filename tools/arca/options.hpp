// The daemon's settings from flags and environment, over the config file, over the defaults.
#pragma once
#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/config.hpp"

namespace arca::cli {

/// What the command line and the environment (ARCA_SOCKET_PATH …) gave; only what was given overrides.
class daemon_options {
 public:
  daemon_options();  ///< with what the environment says
  void add_to(CLI::App& app);
  /// Defaults, config file, environment and flags together.
  result<settings> resolve() const;
  /// The arguments that repeat these options for a daemon in the background.
  std::vector<std::string> arguments() const;

 private:
  std::string config_file_;
  std::map<std::string, std::string> text_;  // by flag name without dashes
  std::map<std::string, bool> given_;        // switches
  std::map<std::string, std::vector<std::string>> lists_;
};

}  // namespace arca::cli
