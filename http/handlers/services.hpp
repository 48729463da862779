// What handlers work with: the engine, and facts about it that do not change while it runs.
#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "actors/engine.hpp"
#include "actors/model/info.hpp"
#include "http/exchange.hpp"

namespace arca::http {

/// The last answer of GET /containers/json. It holds while the directory is the same and for one second, as ages in it
/// ("Up 5 seconds") change no faster: dashboards and scripts ask again and again.
class list_cache {
 public:
  std::shared_ptr<const std::string> find(const std::shared_ptr<const directory>& of, const std::string& query, int api,
                                          int64_t second) const;
  void put(std::shared_ptr<const directory> of, std::string query, int api, int64_t second,
           std::shared_ptr<const std::string> text);

 private:
  mutable std::mutex lock_;
  std::shared_ptr<const directory> of_;
  std::string query_;
  int api_ = 0;
  int64_t second_ = 0;
  std::shared_ptr<const std::string> text_;
};

struct services {
  services(engine& running, model::engine_facts known) : e(running), facts(std::move(known)) {}
  engine& e;
  model::engine_facts facts;
  list_cache lists;
};

inline engine& engine_of(call& c) {
  return c.services_of_server->e;
}

}  // namespace arca::http
