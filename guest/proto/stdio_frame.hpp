// How a process's bytes travel between the daemon and the agent: raw frames over a connected unix stream socket, one
// socket per process, beside gRPC (which reaches a third of the throughput). Shared by guest/ and actors/streams.
//
// The daemon connects to MACHINE_DIR/stdio.sock and sends one hello; everything after it is frames in both directions.
// Output: the agent cuts stdout and stderr into records of at most 16 KiB, numbered from 1 over both streams. It keeps
// each record until the daemon has acknowledged its number (or a later one) and starts with `first_sequence` of the
// hello. After the process's last record comes one `end` frame. While no daemon is connected records wait in memory (2
// MiB), then in a spool file, then the process's writes block.
// Input: stdin, stdin_close and resize keep their order. The agent sends `stdin_credit` as the process consumes; the
// daemon keeps at most `stdin_window` bytes un-credited.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>

namespace arca::stdio {

inline constexpr uint32_t magic = 0x41524341;  // "ACRA" on the wire
inline constexpr uint32_t max_payload = 16u << 10;
inline constexpr uint32_t stdin_window = 256u << 10;

enum class hello_kind : uint32_t {
  process = 1,  ///< then frames for the process named in the hello
  fd = 2,       ///< one descriptor arrives with the hello as SCM_RIGHTS, kept under the token in process_id; the agent
                ///< answers one byte 0 when it has it; the connection then ends
  exec = 3,     ///< as process, but of one that is to be started: only in StdioStream (guest/proto/agent.proto)
};

/// Sent once by the daemon, little endian, as it lies in memory.
struct hello {
  uint32_t magic_number = magic;
  hello_kind kind = hello_kind::process;
  uint64_t generation = 0;      ///< of the daemon; an older one than the agent has seen is refused by closing
  uint64_t first_sequence = 1;  ///< first record the daemon wants
  char container_id[64] = {};   ///< not terminated when full
  char process_id[64] = {};     ///< "init", an exec id, or the token of kind fd
};
static_assert(sizeof(hello) == 152);

/// container_id or process_id of a hello. False: it does not fit.
template <size_t N>
bool set_name(char (&field)[N], const std::string& name) {
  if (name.size() > N) return false;
  std::memcpy(field, name.data(), name.size());
  return true;
}
template <size_t N>
std::string name_of(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

enum class frame_kind : uint8_t {
  output = 1,        ///< agent: stream, sequence, time, payload
  end = 2,           ///< agent: no record follows; sequence is that of the last. If it was asked for
                     ///< (ExecRequest.exit_with_output): time = of the process's end, reserved = exit_told | its code
  lost = 3,          ///< agent: non-blocking mode dropped `sequence` records before the next
  stdin_credit = 4,  ///< agent: `sequence` more bytes of stdin were consumed
  stdin_closed = 5,  ///< agent: the process closed its stdin; further input is dropped
  started = 6,       ///< agent: the first frame after a hello of kind exec; sequence = pid, time = of its start. Others
                     ///< may follow in the same message
  ack = 16,          ///< daemon: everything up to `sequence` is safe
  stdin_data = 17,   ///< daemon: payload
  stdin_close = 18,  ///< daemon: end of input
  resize = 19,       ///< daemon: sequence = rows << 32 | columns
};

inline constexpr uint16_t exit_told = 0x100;

/// Header of every frame, then `length` bytes of payload.
struct frame {
  frame_kind kind = frame_kind::output;
  uint8_t stream = 1;  ///< 1 stdout, 2 stderr (a tty has stdout only)
  uint16_t reserved = 0;
  uint32_t length = 0;  ///< at most max_payload
  uint64_t sequence = 0;
  int64_t time = 0;  ///< unix nanoseconds at which the agent read the bytes
};
static_assert(sizeof(frame) == 24);

}  // namespace arca::stdio
