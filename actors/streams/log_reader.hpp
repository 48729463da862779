// Reads a json-file log into a channel: a task that runs on the work pool for as long as there is something to read and
// room in the channel, and costs no thread while it waits.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "actors/streams/byte_channel.hpp"
#include "actors/streams/json_line.hpp"
#include "actors/streams/log_files.hpp"
#include "actors/streams/process_io.hpp"
#include "actors/streams/work_pool.hpp"

namespace arca {

class log_reader final : public log_follower, public std::enable_shared_from_this<log_reader> {
 public:
  /// Starts reading into `output`, which is closed at the end. The reader lives as long as the channel's callbacks.
  static std::shared_ptr<log_reader> start(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files,
                                           const log_query& query, std::shared_ptr<byte_channel> output);
  /// A replay before live bytes: reads up to `stop`, calls `at_stop` on a pool thread and keeps the channel open.
  static std::shared_ptr<log_reader> replay(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files,
                                            const log_query& query, std::shared_ptr<byte_channel> output,
                                            log_place stop, std::function<void()> at_stop);
  /// After at_stop was called: reads on up to another place and calls it again.
  void resume(log_place stop);

  void wake() override;

 private:
  enum class outcome : uint8_t { again, wait };
  log_reader(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files, const log_query& query,
             std::shared_ptr<byte_channel> output);
  void begin();
  bool resumed();
  void run();
  outcome step();
  void open();
  void seek_tail();
  bool next_file();
  bool read_block();
  size_t decode(std::string_view block);
  void put(std::string_view line);
  void flush();
  outcome at_end();
  void finish();

  const std::shared_ptr<work_pool> pool_;
  const std::shared_ptr<log_files> files_;
  const log_query query_;
  const std::shared_ptr<byte_channel> output_;
  std::function<void()> at_stop_;
  std::atomic<int> state_{0};  ///< 0 idle, 1 queued or running, 2 running and woken meanwhile
  std::mutex resume_lock_;
  std::optional<log_place> resume_at_;  ///< what resume() said, for the next step

  // Of the running step only.
  bool opened_ = false, full_ = false, over_ = false;
  bool parked_ = false;                 ///< at_stop was called: nothing to do before resume()
  std::vector<log_files::file> ahead_;  ///< opened at the start, newest first: no rotation takes them away
  log_files::file file_;
  uint64_t at_ = 0;                   ///< of the next line in file_
  size_t room_;                       ///< of the next read
  std::optional<log_place> stop_;     ///< read no further
  std::string details_of_, details_;  ///< attributes of the last line and their text
};

}  // namespace arca
