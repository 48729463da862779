#include "vm/guest_image/program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"

extern char** environ;

namespace arca::vm {
namespace {
constexpr size_t most_output = 1u << 20;

struct stream {
  unique_fd ours, theirs;
  std::string* text = nullptr;

  result<void> open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe");
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
    return {};
  }
  void take() {
    std::array<char, 16384> piece;
    const ssize_t n = ::read(ours.get(), piece.data(), piece.size());
    if (n > 0)
      text->append(piece.data(), std::min(static_cast<size_t>(n), most_output - std::min(most_output, text->size())));
    else if (n == 0 || errno != EINTR)
      ours.reset();
  }
};

/// The two streams to their ends.
void drain(stream& out, stream& err) {
  while (out.ours || err.ours) {
    // A negative descriptor is passed over.
    std::array<pollfd, 2> ready{{{out.ours.get(), POLLIN, 0}, {err.ours.get(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) return;
    if (ready[0].revents != 0) out.take();
    if (ready[1].revents != 0) err.take();
  }
}

std::vector<std::string> environment() {
  std::vector<std::string> out = {"LC_ALL=C"};
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!starts_with(*entry, "LC_") && !starts_with(*entry, "LANG")) out.emplace_back(*entry);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}
}  // namespace

result<program_result> run_program(const std::vector<std::string>& arguments, const std::string& folder) {
  program_result out;
  stream output, errors;
  output.text = &out.output;
  errors.text = &out.errors;
  ARCA_CHECK(output.open());
  ARCA_CHECK(errors.open());

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output.theirs.get(), 1);
  posix_spawn_file_actions_adddup2(&files, errors.theirs.get(), 2);
  posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
  auto words = arguments;
  auto variables = environment();
  pid_t pid = 0;
  const int code =
      ::posix_spawnp(&pid, words.front().c_str(), &files, nullptr, pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&files);
  if (code != 0) return fail(errno_error(words.front(), code));
  output.theirs.reset();
  errors.theirs.reset();
  drain(output, errors);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return fail_errno("wait for " + words.front());
  out.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

}  // namespace arca::vm
