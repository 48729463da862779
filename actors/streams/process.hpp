// The process_io: its socket, log and clients. What has a trailing remark "loop" runs on its io loop only; the methods
// of process_io come from any thread and post there.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>
#include <vector>

#include "actors/streams/attached_client.hpp"
#include "actors/streams/log_reader.hpp"
#include "actors/streams/log_writer.hpp"
#include "actors/streams/service_state.hpp"
#include "actors/streams/stdio_socket.hpp"

namespace arca {

class process final : public process_io, public stdio_socket::owner {
 public:
  process(std::shared_ptr<io_loop> loop, std::shared_ptr<work_pool> readers, options o);
  ~process() override;

  void bind(unique_fd socket, std::function<void(const stdio_end&)> on_end) override;
  uint64_t next_sequence() override;
  stream attach(const attach_options& o) override;
  void resize(uint32_t rows, uint32_t columns) override;
  void finish() override;
  void abandon() override;
  void restart() override;
  result<stream> read_log(const log_query& query) override;

 private:
  using client_ptr = std::shared_ptr<attached_client>;
  std::shared_ptr<process> self() { return std::static_pointer_cast<process>(shared_from_this()); }
  /// Runs `work(*this)` on the loop if this still exists then. For callbacks that must not keep the process.
  template <class Work>
  auto weakly(Work work) {
    return [weak = weak_from_this(), loop = loop_, work = std::move(work)](auto... args) {
      loop->post([weak, work, ... args = std::move(args)]() mutable {
        if (const auto alive = weak.lock()) work(static_cast<process&>(*alive), std::move(args)...);
      });
    };
  }

  // ---- stdio_socket::owner (loop)
  void on_records(std::span<const output_record> records) override;
  void on_stdin_room() override { pump_stdin(); }
  void on_stdin_closed() override;
  void on_end(const stdio::frame& end) override;
  void on_broken(std::string_view why) override;

  // ---- output (loop)
  void bound(unique_fd socket, std::function<void(const stdio_end&)> on_end);
  void deliver(std::span<const output_record> records);
  void give(attached_client& client, const batch& chunks);
  void update_pause();
  void begin_finish();
  void drain();
  void complete_finish();
  void began_again();

  // ---- clients (loop)
  void add(client_ptr client, bool replay);
  client_ptr find(uint64_t id) const;
  void end_client(uint64_t id);
  void dropped(uint64_t id);
  void start_replay(attached_client& client);
  void replay_arrived(uint64_t id);
  void go_live(attached_client& client);
  log_place end_of_log();

  // ---- stdin (loop)
  void want_input(attached_client& client);
  void got_input(uint64_t id, batch data);
  void pump_stdin();
  void input_ended(uint64_t id);
  void stdin_is_over();

  // ---- log
  bool has_log() const { return files_ != nullptr; }
  void settle_log();
  bool open_log();  ///< under log_lock_; false: there is none or it cannot be opened

  const std::shared_ptr<io_loop> loop_;
  const std::shared_ptr<work_pool> readers_;
  const options options_;
  const std::shared_ptr<log_files> files_;  ///< null: driver none
  std::atomic<uint64_t> last_client_{0};
  std::atomic<bool> bound_{false};  ///< a socket may still bring bytes

  std::mutex log_lock_;  ///< the log writer: the loop, and next_sequence() and restart() of an actor
  std::optional<log_writer> writer_;
  bool log_broken_ = false;
  bool abandoned_ = false;
  bool settled_ = false;         ///< the run's last line is written, the files are closed
  uint64_t run_ = 1;             ///< of the process; records of an earlier one are dropped
  uint64_t known_sequence_ = 0;  ///< of the last record that came, where there is no log

  // loop
  std::shared_ptr<stdio_socket> socket_;
  uint64_t socket_run_ = 0;
  std::function<void(const stdio_end&)> on_end_;
  bool finishing_ = false, stdin_over_ = false;
  int reads_left_ = 0;  ///< while it finishes
  std::optional<std::pair<uint32_t, uint32_t>> size_;
  std::vector<client_ptr> clients_;
};

}  // namespace arca
