// One client that is attached to a process, and what makes its bytes: chunks of output records, and the detach keys in
// its input. Belongs to the process's io loop.
#pragma once
#include <array>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "actors/streams/byte_channel.hpp"
#include "actors/streams/log_writer.hpp"

namespace arca {

class log_reader;

/// Which output a client wants and how; clients with the same share their chunks.
struct output_view {
  bool out = false, err = false, framed = true;
  bool wants(int stream) const { return stream == 2 ? err : out; }
  size_t index() const { return (out ? 1u : 0u) | (err ? 2u : 0u) | (framed ? 4u : 0u); }
};

/// Chunks of at most 64 KiB. With frames, neighbouring records of one stream become one frame, so that the writer to
/// the client sends few large pieces and copies nothing.
batch make_chunks(std::span<const output_record> records, output_view view);

/// Finds the detach keys in a stream of input, across reads. Keys that turn out not to be the sequence are passed on.
class detach_scanner {
 public:
  explicit detach_scanner(std::string keys = {});
  /// Appends to `pass` what is for the process. True: the sequence is complete, the rest of `input` is dropped.
  bool feed(std::string_view input, std::string& pass);
  bool active() const { return !keys_.empty(); }

 private:
  std::string keys_;
  std::string fallback_;  ///< for each length matched: the longest shorter match that is its end
  size_t matched_ = 0;
};

struct attached_client {
  uint64_t id = 0;
  output_view view;
  std::shared_ptr<byte_channel> output, input;  ///< input null: this client has no stdin
  detach_scanner keys;

  bool live = true;     ///< gets output; false while its replay runs
  bool full = false;    ///< its window: the process waits for it
  bool ending = false;  ///< the process is over: ends with its replay
  std::shared_ptr<log_reader> replay;
  log_place replay_stop;
  int replay_rounds = 0;

  bool receiving = false;  ///< a batch of input is asked for
  bool input_ended = false;
  std::deque<chunk> stdin_queue;
  size_t stdin_offset = 0;  ///< of the first chunk, already sent
};

}  // namespace arca
