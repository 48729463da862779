// The bytes of one process (a container's init or an exec): from its stdio socket to the container's log and to every
// client that is attached, and from clients to its stdin. Exists before the process starts (docker run attaches first)
// and outlives the daemon's client connections, not the daemon.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "actors/streams/byte_channel.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca {

/// The io threads that move process bytes. A full log or client window slows only the container it belongs to.
class stdio_service {
 public:
  explicit stdio_service(size_t threads);
  ~stdio_service();
  struct state;
  state& impl() { return *state_; }

 private:
  std::unique_ptr<state> state_;
};

/// A container's json-file log: Docker's format on disk, rotation, checkpoint. The only writer of the file.
struct log_options {
  std::string path;       ///< containers/ID/ID-json.log; empty: driver none
  int64_t max_size = -1;  ///< bytes; -1 unlimited
  int max_file = 1;
  std::map<std::string, std::string> attributes;  ///< "attrs" of each line: from labels, env, tag
};

/// Which part of a log a reader wants; times are unix nanoseconds, 0 not given, tail -1 all.
struct log_query {
  bool out = true, err = true, follow = false, timestamps = false, details = false;
  int64_t since = 0, until = 0, tail = -1;
  bool framed = true;  ///< 8-byte frames (no tty)
};

struct attach_options {
  bool in = false, out = false, err = false;
  bool stream = true;  ///< live bytes
  bool logs = false;   ///< first what the log has
  bool framed = true;
  std::string detach_keys;  ///< already parsed into bytes; empty: none
};

/// How a connection to a process's bytes ended.
struct stdio_end {
  bool complete = false;  ///< nothing is missing
  bool exited = false;    ///< the agent says with it how the process ended
  int code = 0;
  int64_t at = 0;  ///< unix nanoseconds, by the agent's clock
};

class process_io : public std::enable_shared_from_this<process_io> {
 public:
  struct options {
    bool tty = false, open_stdin = false;
    bool stdin_once = false;  ///< without tty: stdin ends with the first client's input (execs: true); else the
                              ///< end of a client's input ends that client
    log_options log;          ///< path empty: no log
  };
  static std::shared_ptr<process_io> make(stdio_service& service, options o);
  virtual ~process_io() = default;

  /// Takes over a socket whose hello is sent (vm::machine::connect_stdio). Records go to log and clients, the log's
  /// write is acknowledged to the agent. `on_end` is called once, on an io thread, when the agent's `end` frame has
  /// been handled and the log is flushed, or the socket broke.
  virtual void bind(unique_fd socket, std::function<void(const stdio_end&)> on_end) = 0;
  /// The number of the first record that is not in the log yet (1 for a fresh one): for the hello. Reads the checkpoint
  /// and cuts a torn last line the first time.
  virtual uint64_t next_sequence() = 0;
  /// A client. With `stream`, output ends at finish(). A client that comes after finish() waits for the next start, as
  /// in Docker. The consumer must read the output to its end or abort it.
  virtual stream attach(const attach_options& o) = 0;
  virtual void resize(uint32_t rows, uint32_t columns) = 0;
  /// The process is over (or never started): flushes, then ends every attached client.
  virtual void finish() = 0;
  /// Its files are about to be removed: when this returns nothing is written any more, whatever still comes.
  virtual void abandon() = 0;
  /// Ready for the next start of the same container: a new socket will be bound, sequence numbers begin at 1 again.
  virtual void restart() = 0;
  /// Reads the log, following it across rotations while the process runs if asked. errc::unsupported for driver none:
  /// "configured logging driver does not support reading".
  virtual result<stream> read_log(const log_query& query) = 0;
};

}  // namespace arca
