// event_bus: Docker's events (API: GET /events). Keeps the last 256 for `since`, gives each subscriber a stream.
#pragma once
#include "actors/protocol/message.hpp"

namespace arca {

/// One event. The bus stamps the time when it is 0.
struct publish_event {
  std::string type;    ///< container, image, network, volume, daemon
  std::string action;  ///< create, start, die, "exec_start: sh" …
  std::string actor_id;
  std::map<std::string, std::string> attributes;
  int64_t time_nano = 0;
  ARCA_MESSAGE(publish_event, type, action, actor_id, attributes, time_nano)
};

/// Opens a stream of JSON lines in Docker's form. `filters` is the decoded query value ({"type": ["container"], …}).
struct subscribe_events {
  int64_t since = 0, until = 0;  ///< unix nanoseconds; 0: not given
  std::string filters;           ///< JSON object of lists, already validated
  std::string api_version;       ///< "1.51": older clients get the legacy fields too
  ARCA_MESSAGE(subscribe_events, since, until, filters, api_version)
};

using event_bus_actor =
    caf::typed_actor<caf::reacts_to<publish_event>, caf::replies_to<subscribe_events>::with<stream_id>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_events, caf::first_custom_type_id + 20)
CAF_ADD_TYPE_ID(arca_events, (arca::publish_event))
CAF_ADD_TYPE_ID(arca_events, (arca::subscribe_events))
CAF_END_TYPE_ID_BLOCK(arca_events)
