#include "http/shard.hpp"

#include <ctime>

#include "actors/core/ask.hpp"
#include "http/head.hpp"

namespace arca::http {

shard::shard(server_state& s) : server(s) {}
shard::~shard() = default;

const std::string& shard::date_now() {
  if (const int64_t now = std::time(nullptr); now != date_second) {
    date_second = now;
    date = http_date(now);
  }
  return date;
}

}  // namespace arca::http
