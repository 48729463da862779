// What handlers work with: the engine, and facts about it that do not change while it runs.
#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "actors/engine.hpp"
#include "actors/model/info.hpp"
#include "http/exchange.hpp"

namespace arca::http {

/// The last answer of GET /containers/json. It holds while containers and image names are the same and for one second,
/// as ages in it
/// ("Up 5 seconds") change no faster: dashboards and scripts ask again and again.
class list_cache {
 public:
  /// What an answer was made of.
  struct basis {
    std::shared_ptr<const directory> containers;
    std::shared_ptr<const image_names> images;
    int api = 0;
    int64_t second = 0;
    bool operator==(const basis&) const = default;
  };
  std::shared_ptr<const std::string> find(const basis& of, const std::string& query) const;
  void put(basis of, std::string query, std::shared_ptr<const std::string> text);

 private:
  mutable std::mutex lock_;
  basis of_;
  std::string query_;
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
