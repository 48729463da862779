// arca's commands beside the daemon's own.
#pragma once
#include <string>
#include <vector>

namespace arca::cli {
int doctor(const std::string& data_root);
int top_actors(const std::string& socket_path, bool once, bool json);
int run_archive(const std::string& socket_path, const std::string& file, const std::vector<std::string>& command);
int show_version(const std::string& socket_path);
}  // namespace arca::cli
