#include "guest/chunk_pool.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <thread>

using namespace arca::guest;

TEST_CASE("chunk pool: trim is due once until it was done, on whichever thread a block is let go") {
  int due = 0;
  chunk_pool pool([&due] { ++due; });
  auto first = pool.take();
  auto second = pool.take();
  std::thread([&] { first.reset(); }).join();
  CHECK(due == 1);
  CHECK(pool.spare() == 1);
  second.reset();
  CHECK(due == 1);
  CHECK(pool.spare() == 2);
  pool.trim();
  CHECK(pool.spare() == 0);
  pool.take().reset();
  CHECK(due == 2);
}

TEST_CASE("chunk pool: at most so many are spare, the warmest comes first") {
  chunk_pool pool;
  std::vector<chunk_pool::memory> held;
  for (size_t i = 0; i < chunk_pool::max_spare + 2; ++i) held.push_back(pool.take());
  const char* last = held[chunk_pool::max_spare - 1].get();
  held.clear();
  CHECK(pool.spare() == chunk_pool::max_spare);
  CHECK(pool.take().get() == last);
}

TEST_CASE("chunk pool: a block outlives its pool") {
  std::optional<chunk_pool> pool(std::in_place, [] { FAIL("nobody is left to trim"); });
  const auto block = pool->take();
  pool.reset();
  std::memset(block.get(), 1, chunk_pool::chunk_size);
  CHECK(block.get()[chunk_pool::chunk_size - 1] == 1);
}
