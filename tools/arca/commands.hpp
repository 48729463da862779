// arca's commands beside the daemon's own.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/config.hpp"

namespace arca::cli {
int doctor(const settings& config);

struct setup_flags {
  std::string package_file;
  bool force = false, list = false, prune = false;
};
int setup(const settings& config, const setup_flags& flags);
int machine_list(const std::string& socket_path, bool as_json);
int machine_inspect(const std::string& socket_path, const std::string& name, bool as_json);
/// `follow`: goes on with what the console writes until the machine ends.
int machine_log(const std::string& socket_path, const std::string& name, bool follow);
/// Standard input and output at an address inside the machine.
int machine_dial(const std::string& socket_path, const std::string& name, const std::string& address);
int top_actors(const std::string& socket_path, bool once, bool json);
int run_archive(const std::string& socket_path, const std::string& file, const std::vector<std::string>& command);
int show_version(const std::string& socket_path);
}  // namespace arca::cli
