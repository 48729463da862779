// The lines of pull and load as Docker writes them, fanned out to every client of the same work. Thread-safe: the
// threads of a pull write, clients come and go.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/streams/byte_channel.hpp"
#include "persistence/base/error.hpp"

namespace arca {

/// "[==>   ]  1.2MB/3.4MB": the text that Docker sends beside the numbers.
std::string progress_bar(int64_t current, int64_t total);
/// "1.036MB", four significant digits, powers of 1000.
std::string human_size(double bytes);

class progress_output {
 public:
  /// One more client; it gets first what it must know of what has been going on. False: it has all ended before.
  bool add(std::shared_ptr<byte_channel> client);
  /// Runs once: when every client has gone before the end.
  void on_last_gone(std::function<void()> callback);
  /// Runs once: when the first line is written, or at the end. At once if that has been.
  void on_begun(std::function<void()> callback);

  void message(const std::string& id, const std::string& text);  ///< {"status": text, "id": id}; no id when it is empty
  void state(const std::string& id, const std::string& text);    ///< of a layer: with "progressDetail": {}
  /// At most ten lines a second for each id; the line that reaches `total` always.
  void bytes(const std::string& id, const std::string& text, int64_t current, int64_t total);
  void stream_text(const std::string& text);  ///< {"stream": text}
  /// The end. An error after the first line is a last line {"errorDetail": …}, as in Docker; before it, only failure().
  void finish();
  void finish(const error& why);
  /// The end by an error that is a line in any case (load answers 200 before it has looked at the archive).
  void fail_in_stream(const error& why);
  const error& failure() const noexcept { return failure_; }  ///< after on_begun; errc::none if lines were written
  bool begun() const;

 private:
  struct layer_line {
    std::string id, line;
  };
  void write(const std::string& id, std::string line, bool optional);
  void gone(const byte_channel* client);

  mutable std::mutex lock_;
  std::vector<std::shared_ptr<byte_channel>> clients_;
  std::vector<std::string> heads_;  // lines that a late client needs ("Pulling from")
  std::vector<layer_line> layers_;  // the last line of each layer, in order
  std::map<std::string, std::chrono::steady_clock::time_point> shown_;
  std::function<void()> last_gone_, begun_callback_;
  bool begun_ = false, ended_ = false;
  error failure_;
};

}  // namespace arca
