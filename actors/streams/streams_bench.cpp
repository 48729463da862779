// streams_bench: how fast process output moves: agent -> daemon -> attached client over sockets, into the default log,
// and back out of it. Prints, asserts nothing.
#include <sys/socket.h>

#include <cstdio>
#include <thread>

#include "actors/streams/log_reader.hpp"
#include "actors/streams/process_io.hpp"
#include "actors/streams/testing/fake_agent.hpp"

using namespace arca;
using namespace arca::testing;

namespace {

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Frames of full records, 256 KiB at a time; an agent that has them ready.
void feed(fake_agent& agent, size_t total, size_t line) {
  std::string text(stdio::max_payload, 'x');
  for (size_t i = line - 1; i < text.size(); i += line) text[i] = '\n';
  std::string block;
  std::thread drain([&agent] {
    char buffer[4096];
    while (::recv(agent.fd(), buffer, sizeof buffer, 0) > 0) {
    }
  });
  const int size = 1 << 20;
  ::setsockopt(agent.fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  for (size_t sent = 0; sent < total;) {
    block.clear();
    for (int i = 0; i < 16 && sent < total; ++i, sent += text.size())
      block += fake_agent::frame_bytes(stdio::frame_kind::output, ++agent.sequence, text);
    agent.raw(block);
  }
  agent.end();
  ::shutdown(agent.fd(), SHUT_WR);
  drain.join();
}

void run(const char* name, size_t total, bool log, bool attach, size_t line) {
  stdio_service service(2);
  temp_dir dir;
  process_io::options o;
  if (log) o.log = {dir / "log", 20 << 20, 20, {}};
  auto io = process_io::make(service, o);
  fake_agent agent;
  std::atomic<bool> ended{false};
  stream client;
  attach_options a;
  a.out = a.err = true;
  if (attach) client = io->attach(a);
  io->next_sequence();
  const auto begin = std::chrono::steady_clock::now();
  io->bind(agent.daemon_end(), [&](const stdio_end&) {
    ended = true;
    ended.notify_all();
  });
  std::thread agent_thread([&] { feed(agent, total, line); });
  std::thread reader, sink;
  if (attach) {
    // A client behind a socket, written with one gathering call a batch, as the HTTP server does.
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::abort();
    const int size = 1 << 20;
    ::setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    sink = std::thread([fd = fds[1]] {
      std::vector<char> buffer(1 << 18);
      while (::recv(fd, buffer.data(), buffer.size(), 0) > 0) {
      }
      ::close(fd);
    });
    reader = std::thread([&, fd = fds[0]] {
      for (auto data = client.output->read_blocking(); !data.empty(); data = client.output->read_blocking())
        for (const auto& c : data)
          for (size_t at = 0; at < c->size();) at += static_cast<size_t>(::send(fd, c->data() + at, c->size() - at, 0));
      ::close(fd);
    });
  }
  ended.wait(false);
  io->finish();
  if (attach) {
    reader.join();
    sink.join();
  }
  const double seconds = since(begin);
  agent_thread.join();
  std::printf("%-44s %8.0f MB/s\n", name, static_cast<double>(total) / 1e6 / seconds);
  if (!log) return;
  for (const bool framed : {true, false}) {
    log_query q;
    q.framed = framed;
    const auto start = std::chrono::steady_clock::now();
    auto back = io->read_log(q);
    size_t bytes = 0;
    for (auto data = back->output->read_blocking(); !data.empty(); data = back->output->read_blocking())
      for (const auto& c : data) bytes += c->size();
    std::printf("  read back, %-31s %8.0f MB/s (%zu bytes)\n", framed ? "framed" : "raw",
                static_cast<double>(total) / 1e6 / since(start), bytes);
  }
  log_query q;
  q.tail = 10;
  const auto start = std::chrono::steady_clock::now();
  read_all(*io->read_log(q)->output);
  std::printf("  tail 10 %47.3f ms\n", since(start) * 1000);
}

}  // namespace

int main() {
  run("attached, no log", 2u << 30, false, true, 80);
  run("into the log, lines of 80", 300u << 20, true, false, 80);
  run("into the log, lines of 1000", 300u << 20, true, false, 1000);
  run("into the log, lines of 8", 20u << 20, true, false, 8);
  run("attached and logged, lines of 80", 300u << 20, true, true, 80);
}
