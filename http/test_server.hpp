// A server with test routes on a unix socket below /tmp; for tests only.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "http/server.hpp"

namespace arca::http::test {

/// What the routes tell the tests.
struct counters {
  std::atomic<int> gone{0};
  std::atomic<size_t> uploaded{0};
  std::atomic<int> upload_failed{0};
  std::atomic<int> stdin_closed{0}, output_aborted{0};
};

struct test_server {
  explicit test_server(limits bounds = {}, server_options options = {}, bool tcp = false);
  std::string address(size_t i = 0) const { return running->addresses().at(i); }
  std::unique_ptr<router> routes;
  std::unique_ptr<server> running;
  static counters& seen();
};

}  // namespace arca::http::test
