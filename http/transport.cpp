#include "http/transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "http/tls.hpp"

namespace asio = boost::asio;

namespace arca::http {
namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

class plain_transport final : public transport {
 public:
  plain_transport(asio::io_context& io, unique_fd fd, int family)
      : socket_(io, asio::generic::stream_protocol(family, 0), fd.get()) {
    fd.release();  // the socket owns it from here
    boost::system::error_code ec;
    socket_.non_blocking(true, ec);
    if (family != AF_UNIX) {
      const int on = 1;
      ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
  }

  awaitable<bool> handshake() override { co_return true; }

  awaitable<ssize_t> read_some(char* into, size_t size) override {
    const auto [ec, n] = co_await socket_.async_read_some(asio::buffer(into, size), as_result);
    if (!ec) co_return static_cast<ssize_t>(n);
    co_return ec == asio::error::eof ? 0 : -1;
  }

  size_t try_write(std::span<const std::string_view> parts) override {
    size_t total = 0;
    while (!parts.empty()) {
      std::array<iovec, most_parts> list;
      size_t count = 0, offered = 0;
      for (; count < list.size() && count < parts.size(); ++count) {
        list[count] = {const_cast<char*>(parts[count].data()), parts[count].size()};
        offered += parts[count].size();
      }
      msghdr message{};
      message.msg_iov = list.data();
      message.msg_iovlen = count;
      const auto n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) {
        broken_ = errno != EAGAIN && errno != EINTR;
        break;
      }
      total += static_cast<size_t>(n);
      if (static_cast<size_t>(n) < offered) break;
      parts = parts.subspan(count);
    }
    return total;
  }

  awaitable<bool> write(std::span<const std::string_view> parts) override {
    size_t skip = try_write(parts);
    for (;;) {
      while (!parts.empty() && skip >= parts.front().size()) {
        skip -= parts.front().size();
        parts = parts.subspan(1);
      }
      if (parts.empty()) co_return true;
      if (broken_) co_return false;
      const auto rest = parts.front().substr(skip);
      const auto [ec, n] = co_await socket_.async_write_some(asio::buffer(rest.data(), rest.size()), as_result);
      if (ec) {
        broken_ = true;
        co_return false;
      }
      skip += n;
      if (skip == parts.front().size()) {
        parts = parts.subspan(1);
        skip = try_write(parts);
      }
    }
  }

  awaitable<void> finish_writing() override {
    boost::system::error_code ec;
    socket_.shutdown(asio::socket_base::shutdown_send, ec);
    co_return;
  }

  awaitable<void> wait_hangup() override { co_await socket_.async_wait(asio::socket_base::wait_error, as_result); }

  void close() override {
    boost::system::error_code ec;
    socket_.close(ec);
  }

 private:
  static constexpr size_t most_parts = 64;
  bool broken_ = false;  // Asio does not complete a write that begins after one that failed: the edge is gone
  asio::generic::stream_protocol::socket socket_;
};

}  // namespace

std::unique_ptr<transport> make_transport(asio::io_context& io, unique_fd socket, int family,
                                          const std::shared_ptr<tls_context>& tls) {
  auto plain = std::make_unique<plain_transport>(io, std::move(socket), family);
  if (tls == nullptr) return plain;
  return make_tls_transport(io, std::move(plain), tls);
}

}  // namespace arca::http
