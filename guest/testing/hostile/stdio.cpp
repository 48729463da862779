#include "guest/testing/hostile/stdio.hpp"

#include <sys/socket.h>

#include <cstring>
#include <limits>
#include <thread>

#include "guest/proto/stdio_frame.hpp"

namespace arca::hostile {
namespace {
using stdio::frame;
using stdio::frame_kind;
constexpr uint64_t most = std::numeric_limits<uint64_t>::max();

bool send_all(int socket, const void* bytes, size_t size) {
  const auto* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const auto n = ::send(socket, at, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool put(int socket, frame_kind kind, uint64_t sequence, std::string_view payload = {}, uint8_t stream = 1,
         int64_t time = now_nanos()) {
  frame header;
  header.kind = kind;
  header.stream = stream;
  header.length = static_cast<uint32_t>(payload.size());
  header.sequence = sequence;
  header.time = time;
  return send_all(socket, &header, sizeof header) && send_all(socket, payload.data(), payload.size());
}

/// Until the daemon closes.
void endless(int socket, const frame& header, const std::string& payload, bool counts) {
  std::string block;
  frame next = header;
  for (;;) {
    block.clear();
    while (block.size() < (256u << 10)) {
      next.sequence += counts ? 1 : 0;
      block.append(reinterpret_cast<const char*>(&next), sizeof next);
      block += payload;
    }
    if (!send_all(socket, block.data(), block.size())) return;
  }
}

frame header_of(frame_kind kind, size_t length) {
  frame header;
  header.kind = kind;
  header.length = static_cast<uint32_t>(length);
  header.time = now_nanos();
  return header;
}

/// False: nothing was wished, the connection goes on as it should.
bool misbehave(int socket, const std::string& how) {
  const auto is = [&](const char* name) { return how == name; };
  if (is("backwards")) {
    for (uint64_t n = 100; n > 0; --n)
      if (!put(socket, frame_kind::output, n, "back\n")) break;
  } else if (is("greatest")) {
    put(socket, frame_kind::output, most, "last\n");
    put(socket, frame_kind::output, 1, "first\n");
  } else if (is("giant")) {
    auto header = header_of(frame_kind::output, 0);
    header.length = 0xffffffff;
    endless(socket, header, std::string(64 << 10, 'g'), false);
  } else if (is("stream")) {
    put(socket, frame_kind::output, 1, "nowhere\n", 9);
  } else if (is("unknown")) {
    endless(socket, header_of(static_cast<frame_kind>(99), 0), {}, false);
  } else if (is("daemons")) {
    put(socket, frame_kind::stdin_data, 1, "yours\n");
  } else if (is("credit")) {
    for (int i = 0; i < 100'000 && put(socket, frame_kind::stdin_credit, most); ++i) {
    }
  } else if (is("lost")) {
    endless(socket, header_of(frame_kind::lost, 0), {}, true);
  } else if (is("endless")) {
    endless(socket, header_of(frame_kind::output, 16 << 10), std::string(16 << 10, 'e'), true);
  } else if (is("tiny")) {
    endless(socket, header_of(frame_kind::output, 1), "\n", true);
  } else if (is("garbage")) {
    std::string noise(1 << 20, '\0');
    for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * 2654435761u >> 13);
    send_all(socket, noise.data(), noise.size());
  } else if (is("half")) {
    const auto header = header_of(frame_kind::output, 100);
    send_all(socket, &header, sizeof header / 2);
    wait_for_ever();
  } else if (is("end-early")) {
    put(socket, frame_kind::end, 5);
  } else if (is("times")) {
    put(socket, frame_kind::output, 1, "past\n", 1, std::numeric_limits<int64_t>::min());
    put(socket, frame_kind::output, 2, "future\n", 1, std::numeric_limits<int64_t>::max());
    return false;
  } else if (is("no-end")) {
    wait_for_ever();
  } else if (!is("closes")) {
    return false;
  }
  return true;
}

}  // namespace

void serve_stdio(unique_fd socket, const wish& wanted, processes& all) {
  stdio::hello hello;
  if (::recv(socket.get(), &hello, sizeof hello, MSG_WAITALL) != sizeof hello) return;
  if (hello.kind == stdio::hello_kind::fd) {  // the descriptor itself is let go
    if (wanted.is("fd", "never")) wait_for_ever();
    const char answer = wanted.is("fd", "refuse") ? 1 : 0;
    send_all(socket.get(), &answer, 1);
    return;
  }
  const auto process = stdio::name_of(hello.process_id);
  if (!wanted.is("stdio", "unread"))
    std::thread([fd = dup(socket.get())] {
      char ignored[16 << 10];
      while (::recv(fd, ignored, sizeof ignored, 0) > 0) {
      }
      ::close(fd);
    }).detach();
  if (wanted.what == "stdio" && misbehave(socket.get(), wanted.how)) return;
  if (hello.first_sequence <= 1) put(socket.get(), frame_kind::output, 1, "hostile " + process + "\n");
  all.wait_end(process);
  put(socket.get(), frame_kind::end, 1);
}

}  // namespace arca::hostile
