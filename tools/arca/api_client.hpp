// A small blocking HTTP client over the daemon's unix socket, for arca's own commands.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::cli {

struct response {
  int status = 0;
  std::string body;
};

/// What an answer that is an error says: the daemon's own sentence, if it has one.
std::string sentence_of(int status, const std::string& body);

class api_client {
 public:
  explicit api_client(std::string socket_path) : path_(std::move(socket_path)) {}

  /// One request, one connection. errc::unavailable "the daemon does not answer at PATH" when nobody listens.
  result<response> call(std::string_view method, std::string_view target, std::string_view body = {}) const;
  /// The same with a file as the body; `on_line` gets each line of the answer as it comes.
  result<int> upload(std::string_view target, int file, uint64_t size,
                     const std::function<void(std::string_view)>& on_line) const;
  /// Attaches (Upgrade: tcp): the connected socket after the 101, and what came with it.
  struct hijacked {
    unique_fd socket;
    std::string early;
  };
  result<hijacked> hijack(std::string_view target) const;

 private:
  result<unique_fd> connect() const;
  std::string path_;
};

}  // namespace arca::cli
