// The daemon process itself, and the commands that start, stop and ask it.
#pragma once
#include "persistence/base/config.hpp"
#include "tools/arca/options.hpp"

namespace arca::cli {

/// Serves until SIGTERM or SIGINT; the process's exit code.
int run_daemon(const settings& config);

/// Starts a daemon in the background and returns when it answers: prints its pid and the DOCKER_HOST line.
int start_in_background(const settings& config, const daemon_options& options);
/// SIGTERM to the daemon of these settings, waits for its end.
int stop_daemon(const settings& config);
int show_status(const settings& config);

std::string pid_file(const settings& config);

}  // namespace arca::cli
