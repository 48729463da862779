// Whatever an agent sends, and whatever lies in a log or its checkpoint: no crash, no unbounded memory, and every
// record that was accepted is framed for clients without loss.
#include <cstdlib>
#include <vector>

#include "actors/streams/attached_client.hpp"
#include "actors/streams/frame_reader.hpp"
#include "actors/streams/json_line.hpp"
#include "actors/streams/log_checkpoint.hpp"

using namespace arca;

namespace {

void frames(std::string_view bytes) {
  frame_reader reader(bytes);
  stdio::frame head;
  std::string_view payload;
  std::vector<output_record> records;
  size_t wanted = 0;
  while (reader.next(head, payload) == frame_reader::status::frame) {
    if (payload.size() > stdio::max_payload || reader.consumed() > bytes.size()) std::abort();
    if (head.kind != stdio::frame_kind::output) continue;
    records.push_back({head.stream, head.sequence, head.time, payload});
    wanted += payload.size();
  }
  size_t got = 0;
  for (const auto& chunk : make_chunks(records, {true, true, false})) got += chunk->size();
  if (got != wanted) std::abort();
  json_line_encoder encoder({});
  raw_buffer line;
  for (const auto& r : records) {
    line.clear();
    encoder.append(line, r.bytes.substr(0, r.bytes.size() / 2), r.bytes.substr(r.bytes.size() / 2), true, r.stream,
                   r.time < 0 ? 0 : r.time);
    json_line parsed;
    if (!parse_json_line(line.view().substr(0, line.size() - 1), parsed) || parsed.decoded) std::abort();
  }
}

void log_line(std::string_view bytes) {
  json_line line;
  if (!parse_json_line(bytes, line)) return;
  raw_buffer out;
  append_text(out, line);
  append_fixed_time(out, line.time);
  details_text(line.attributes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      frames(bytes);
      break;
    case 1:
      log_line(bytes);
      break;
    case 2: {
      uint64_t counter = 0;
      decode_checkpoint(bytes, counter);
      break;
    }
    default: {
      const size_t keys = bytes.size() < 4 ? bytes.size() : 4;
      detach_scanner scanner{std::string(bytes.substr(0, keys))};
      std::string pass;
      if (scanner.active()) scanner.feed(bytes.substr(keys), pass);
      if (pass.size() > bytes.size()) std::abort();
    }
  }
  return 0;
}
