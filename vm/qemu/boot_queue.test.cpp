#include "vm/qemu/boot_queue.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

using namespace arca;
using namespace arca::vm;
using namespace std::chrono_literals;

namespace {
void until(const std::function<bool()>& true_now) {
  for (int i = 0; i < 20'000 && !true_now(); ++i) std::this_thread::sleep_for(1ms);
  REQUIRE(true_now());
}
}  // namespace

TEST_CASE("boot queue: no more than there are places, in the order of coming") {
  boot_queue queue(2);
  auto first = queue.wait();
  auto second = queue.wait();
  REQUIRE(first);
  REQUIRE(second);
  std::mutex lock;
  std::vector<int> order;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto turn = queue.wait();
      const std::lock_guard guard(lock);
      order.push_back(i);
    });
    until([&] { return queue.waiting() == static_cast<uint64_t>(i + 1); });
  }
  {
    const std::lock_guard guard(lock);
    CHECK(order.empty());
  }
  second->leave();
  second->leave();  // once counts
  for (auto& thread : threads) thread.join();
  CHECK(order.size() == 4);
  CHECK(order.front() == 0);
  CHECK(queue.waiting() == 0);
}

TEST_CASE("boot queue: nobody waits for a stopping engine") {
  boot_queue queue(1);
  auto turn = queue.wait();
  std::thread waits([&] { CHECK(queue.wait().error().code() == errc::unavailable); });
  until([&] { return queue.waiting() == 1; });
  queue.close();
  waits.join();
  CHECK_FALSE(queue.wait());
}
