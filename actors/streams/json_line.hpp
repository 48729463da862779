// One line of a json-file log, byte for byte as Docker writes it (moby daemon/logger/jsonfilelog/jsonlog):
//   {"log":"text\n","stream":"stdout","attrs":{…},"time":"2026-01-02T03:04:05.000000001Z"}\n
// Both directions are written by hand: they decide how fast a container can print.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace arca {

/// Bytes that grow without being zeroed first.
class raw_buffer {
 public:
  char* data() { return data_.get(); }
  const char* data() const { return data_.get(); }
  size_t size() const { return size_; }
  std::string_view view() const { return {data_.get(), size_}; }
  void clear() { size_ = 0; }
  void truncate(size_t size) { size_ = size; }
  /// Room for `more` bytes behind the end; end() is valid until the next call.
  void reserve_more(size_t more) {
    if (size_ + more > capacity_) grow(size_ + more);
  }
  char* end() { return data_.get() + size_; }
  void advance_to(const char* end) { size_ = static_cast<size_t>(end - data_.get()); }
  void append(std::string_view bytes);
  /// Gives the memory back when it has become large.
  void trim(size_t limit);

 private:
  void grow(size_t needed);
  std::unique_ptr<char[]> data_;
  size_t size_ = 0, capacity_ = 0;
};

class json_line_encoder {
 public:
  /// `attributes` become "attrs" of each line; none: the key is left out.
  explicit json_line_encoder(const std::map<std::string, std::string>& attributes);

  /// Appends the line of `text` (two parts, so that a line that began in an earlier record needs no joining) and, with
  /// `newline`, its "\n". `stream` is 1 or 2, `time` unix nanoseconds.
  void append(raw_buffer& out, std::string_view head, std::string_view tail, bool newline, int stream, int64_t time);

 private:
  void make_suffix(int stream, int64_t time);
  std::string attributes_;
  // What follows the text is the same for all lines of one record.
  std::string suffix_;
  int suffix_stream_ = 0;
  int64_t suffix_time_ = 0, second_ = INT64_MIN;
  std::string second_text_;
};

/// Appends `text` as Docker's JSON string body: escapes of encoding/json with <, >, & as \u003c …, invalid UTF-8 as
/// \ufffd, U+2028 and U+2029 escaped, \t as \u0009.
void append_json_escaped(raw_buffer& out, std::string_view text);

/// A line taken apart. The views point into the line.
struct json_line {
  std::string_view escaped;     ///< the text between the quotes, still escaped; for slow lines empty
  std::string_view time;        ///< RFC 3339 as in the file
  std::string_view attributes;  ///< the JSON object, or empty
  int stream = 0;               ///< 1, 2, or 0 for another name
  std::string text;             ///< the text of a line that is not in our own writer's form (then `decoded`)
  std::string time_text, attributes_text;
  bool decoded = false;
};

/// `line` without its final newline. False: not an entry of a json-file log.
bool parse_json_line(std::string_view line, json_line& out);
/// Appends the text of a parsed line.
void append_text(raw_buffer& out, const json_line& line);
/// Docker's `details`: k=v pairs, query-escaped, sorted by key, joined with commas.
std::string details_text(std::string_view attributes_json);
/// Appends an RFC 3339 time with all nine digits ("2006-01-02T15:04:05.000000000Z"), as logs?timestamps=1 shows it.
void append_fixed_time(raw_buffer& out, std::string_view time);

}  // namespace arca
