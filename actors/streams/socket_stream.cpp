#include "actors/streams/socket_stream.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "actors/streams/service_state.hpp"

namespace arca {
namespace {
constexpr size_t window = 1u << 20;
constexpr size_t largest_read = 256u << 10, largest_datagram = 64u << 10;

bool input_is_over(int socket) {
  pollfd state{socket, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP)) != 0;
}

/// On its loop, which holds it as long as the socket is open.
class socket_stream final : public io_handler, public std::enable_shared_from_this<socket_stream> {
 public:
  socket_stream(std::shared_ptr<io_loop> loop, unique_fd socket, bool datagrams)
      : loop_(std::move(loop)), socket_(std::move(socket)), datagrams_(datagrams) {}

  stream channels() const { return {output_, input_}; }

  void start() {
    output_->on_writable([weak = weak_from_this()] { on_loop(weak, [](socket_stream& s) { s.resume(); }); });
    output_->on_abort([weak = weak_from_this()] { on_loop(weak, [](socket_stream& s) { s.close(); }); });
    id_ = loop_->add(socket_.get(), EPOLLIN, shared_from_this());
    ask_for_input();
  }

  void on_ready(uint32_t events) override {
    constexpr uint32_t always = EPOLLHUP | EPOLLERR;
    if ((events & (EPOLLOUT | always)) != 0) write();
    if (socket_ && (events & (EPOLLIN | always)) != 0) read();
    update();
  }
  void on_delay() override {}
  void on_stop() override {
    socket_.reset();
    output_->close();
    input_->abort();
  }

 private:
  template <class Work>
  static void on_loop(const std::weak_ptr<socket_stream>& weak, Work work) {
    const auto self = weak.lock();
    if (!self) return;
    self->loop_->post([self, work = std::move(work)] {
      if (self->socket_) work(*self);
    });
  }

  void read() {
    if (full_) return;
    const auto n = ::recv(socket_.get(), loop_->buffer(), datagrams_ ? largest_datagram : largest_read, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n == 0 && datagrams_ && !input_is_over(socket_.get())) return;  // an empty one
    if (n <= 0) return close();
    full_ = output_->push(std::string(loop_->buffer(), static_cast<size_t>(n))) != byte_channel::push_result::more;
  }

  void write() {
    while (socket_ && !queue_.empty()) {
      const auto& chunk = *queue_.front();
      const size_t most = datagrams_ ? largest_datagram : chunk.size();
      const auto n = ::send(socket_.get(), chunk.data() + written_, std::min(most, chunk.size() - written_),
                            MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n < 0) {  // what it still gives is read; it takes nothing more
        queue_.clear();
        input_ended_ = true;
        return input_->abort();
      }
      written_ += static_cast<size_t>(n);
      if (written_ < chunk.size()) continue;
      queue_.pop_front();
      written_ = 0;
    }
    if (socket_ && !input_ended_) ask_for_input();
  }

  void ask_for_input() {
    if (std::exchange(asked_, true)) return;
    input_->receive([weak = weak_from_this()](batch data) {
      on_loop(weak, [data = std::move(data)](socket_stream& s) { s.received(data); });
    });
  }

  void received(const batch& data) {
    asked_ = false;
    if (data.empty()) {
      input_ended_ = true;
      if (!datagrams_) ::shutdown(socket_.get(), SHUT_WR);
      return;
    }
    for (const auto& each : data)
      if (!each->empty()) queue_.push_back(each);
    write();
    update();
  }

  void resume() {
    full_ = false;
    update();
  }

  void update() {
    if (!socket_) return;
    loop_->watch(id_, (full_ ? 0u : uint32_t{EPOLLIN}) | (queue_.empty() ? 0u : uint32_t{EPOLLOUT}));
  }

  void close() {
    if (!socket_) return;
    const auto keep = shared_from_this();
    loop_->remove(id_);
    socket_.reset();
    output_->close();
    input_->abort();
  }

  const std::shared_ptr<io_loop> loop_;
  unique_fd socket_;
  const bool datagrams_;
  const std::shared_ptr<byte_channel> output_ = std::make_shared<byte_channel>(window),
                                      input_ = std::make_shared<byte_channel>(window);
  uint64_t id_ = 0;
  bool full_ = false;  ///< the output's window
  bool asked_ = false, input_ended_ = false;
  std::deque<chunk> queue_;
  size_t written_ = 0;  ///< of its first chunk
};
}  // namespace

stream open_socket_stream(stdio_service& service, unique_fd socket, bool datagrams) {
  auto loop = service.impl().choose();
  const auto made = std::make_shared<socket_stream>(loop, std::move(socket), datagrams);
  auto channels = made->channels();
  if (!loop->post([made] { made->start(); })) channels.output->close();
  return channels;
}

}  // namespace arca
