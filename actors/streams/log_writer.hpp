// Writes a container's json-file log: cuts records into lines as Docker's copier does, rotates, and keeps the
// checkpoint. Not thread-safe: its owner serialises the calls.
#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "actors/streams/json_line.hpp"
#include "actors/streams/log_checkpoint.hpp"
#include "actors/streams/log_files.hpp"
#include "actors/streams/process_io.hpp"

namespace arca {

/// A record of the agent: bytes that its process wrote.
struct output_record {
  int stream = 1;
  uint64_t sequence = 0;
  int64_t time = 0;
  std::string_view bytes;
};

class log_writer {
 public:
  log_writer(const log_options& options, std::shared_ptr<log_files> files);

  /// Opens the files. Cuts off what the checkpoint does not know, or a torn last line.
  result<void> open();
  bool opened() const { return checkpoint_.has_value(); }
  void close();

  /// What is written is in the files, and the checkpoint says so, when it returns. A full disk drops lines, as Docker
  /// does, with one warning.
  void append(std::span<const output_record> records, raw_buffer& scratch);
  /// Writes lines that have not ended as they are: nothing follows.
  void end_lines(raw_buffer& scratch);
  /// The sequence begins anew.
  void restart();

  const log_position& position() const { return position_; }
  /// A line has begun that is not in the log.
  bool unfinished() const {
    const auto begun = [](const open_line& line) { return line.continued || !line.bytes.empty(); };
    return begun(position_.lines[0]) || begun(position_.lines[1]);
  }
  log_place place() const { return {files_->current(), position_.size}; }

 private:
  void recover(const log_position& known, uint64_t inode, uint64_t size);
  void cut_torn_line(uint64_t size);
  void take(const output_record& record, raw_buffer& out);
  void put_entry(open_line& begun, std::string_view rest, bool newline, int stream, int64_t time, raw_buffer& out);
  void write(raw_buffer& out);
  void rotate();
  void save();
  void failed(const error& why);

  const int64_t max_size_;
  const std::string path_;
  std::shared_ptr<log_files> files_;
  json_line_encoder encoder_;
  std::optional<checkpoint_file> checkpoint_;
  unique_fd file_;
  log_position position_;
  bool failing_ = false;
};

}  // namespace arca
