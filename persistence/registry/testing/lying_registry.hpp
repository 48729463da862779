// Starts testing/lying_registry.py and stops it at the end of its life.
#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <string>

extern char** environ;

namespace arca::testing {

class lying_registry {
 public:
  explicit lying_registry(const std::string& script) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::string python = "python3", path = script;
    std::array<char*, 3> argv{python.data(), path.data(), nullptr};
    if (::posix_spawnp(&pid_, "python3", &actions, nullptr, argv.data(), environ) != 0) std::abort();
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    std::string line;
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) line += c;
    ::close(out[0]);
    std::istringstream words(line);
    std::string ready;
    words >> ready >> port >> tls_port >> other_port >> trust;
    if (ready != "ready") std::abort();
    host = "127.0.0.1:" + port;
  }
  ~lying_registry() {
    ::close(input_);
    ::waitpid(pid_, nullptr, 0);
  }
  lying_registry(const lying_registry&) = delete;
  lying_registry& operator=(const lying_registry&) = delete;

  std::string port, tls_port, other_port, trust, host;

 private:
  pid_t pid_ = 0;
  int input_ = -1;
};

}  // namespace arca::testing
