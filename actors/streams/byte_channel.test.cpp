#include "actors/streams/byte_channel.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <thread>

#include "actors/streams/testing/fake_agent.hpp"

using namespace arca;

TEST_CASE("a full window, credit, end and failure") {
  auto channel = std::make_shared<byte_channel>(10);
  int credits = 0;
  CHECK(channel->push(std::string("12345")) == byte_channel::push_result::more);
  CHECK(channel->push(std::string("67890")) == byte_channel::push_result::full);
  CHECK(channel->read_blocking().size() == 2);
  channel->on_writable([&] { ++credits; });  // set late: the credit is not lost
  CHECK(credits == 1);
  CHECK(channel->push(std::string(20, 'x')) == byte_channel::push_result::full);
  CHECK(credits == 1);
  CHECK(channel->read_blocking().size() == 1);
  CHECK(credits == 2);
  channel->close(error(errc::internal, "why"));
  CHECK(channel->push(std::string("late")) == byte_channel::push_result::closed);
  CHECK(channel->read_blocking().empty());
  CHECK(channel->failure()->message() == "why");
}

TEST_CASE("abort tells the producer once and wakes everybody") {
  auto channel = std::make_shared<byte_channel>(1);
  int aborts = 0;
  bool ended = false;
  channel->on_abort([&] { ++aborts; });
  CHECK(channel->push_blocking("x"));
  std::thread producer([&] { CHECK_FALSE(channel->push_blocking("y")); });
  channel->abort();
  channel->abort();
  producer.join();
  CHECK(aborts == 1);
  channel->receive([&](batch data) { ended = data.empty(); });
  CHECK(ended);
  channel->on_abort([&] { ++aborts; });  // too late to miss it
  CHECK(aborts == 2);
}

TEST_CASE("a coroutine reads what a thread writes, in order, within the window") {
  auto channel = std::make_shared<byte_channel>(1u << 16);
  boost::asio::io_context io;
  size_t total = 0, largest = 0;
  boost::asio::co_spawn(
      io,
      [&]() -> boost::asio::awaitable<void> {
        for (;;) {
          auto data = co_await channel->read();
          if (data.empty()) co_return;
          size_t size = 0;
          for (const auto& c : data) size += c->size();
          total += size;
          largest = std::max(largest, size);
        }
      },
      boost::asio::detached);
  std::thread producer([&] {
    for (int i = 0; i < 5000; ++i) channel->push_blocking(std::string(1000, 'a'));
    channel->close();
  });
  io.run();
  producer.join();
  CHECK(total == 5'000'000);
  CHECK(largest <= (1u << 16) + 1000);
}

TEST_CASE("streams are taken once, and dropped with the registry") {
  auto forgotten = std::make_shared<byte_channel>();
  {
    stream_registry registry;
    const auto a = registry.put({std::make_shared<byte_channel>(), nullptr});
    const auto b = registry.put({forgotten, nullptr});
    CHECK(a != b);
    CHECK(registry.take(a));
    CHECK_FALSE(registry.take(a));
    CHECK_FALSE(registry.take(99));
    CHECK(registry.waiting() == 1);
  }
  CHECK(forgotten->aborted());
}
