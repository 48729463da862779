// What every protocol header needs. Rules for messages (actors/protocol): values that CAF can serialise, no pointers,
// no descriptors, no callbacks; a struct per command, named for it; JSON documents travel as text. A message struct has
// a default constructor, hence is no aggregate (docs/hacking.md says why).
#pragma once
#include <caf/error.hpp>
#include <caf/meta/type_name.hpp>
#include <caf/replies_to.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>
#include <caf/unit.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

CAF_ERROR_CODE_ENUM(arca::errc, "arca")

namespace arca {
/// Names a stream in the stream registry (actors/streams/stream_registry.hpp). 0: none.
using stream_id = uint64_t;
/// Milliseconds that the asker still waits; carried in messages so that inner work uses what is left. 0: no limit.
using deadline_ms = uint32_t;
}  // namespace arca

/// Inside a message struct: how CAF reads and writes its fields.
#define ARCA_MESSAGE(type, ...)                                                                        \
  type() = default;                                                                                    \
  template <class Inspector>                                                                           \
  friend typename Inspector::result_type inspect(Inspector& f, type& x) {                              \
    return x.arca_fields([&f](auto&... fields) { return f(caf::meta::type_name(#type), fields...); }); \
  }                                                                                                    \
  template <class F>                                                                                   \
  decltype(auto) arca_fields(F&& visit) {                                                              \
    return visit(__VA_ARGS__);                                                                         \
  }
