// What handlers work with: the engine, and facts about it that do not change while it runs.
#pragma once
#include "actors/engine.hpp"
#include "actors/model/info.hpp"
#include "http/exchange.hpp"

namespace arca::http {

struct services {
  engine& e;
  model::engine_facts facts;
};

inline engine& engine_of(call& c) {
  return c.services_of_server->e;
}

}  // namespace arca::http
