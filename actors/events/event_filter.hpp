// Which events a subscriber wants (API: GET /events, filters) and how one is written. Values of one key are OR'ed,
// different keys AND'ed; unknown keys are ignored, as Docker does.
#pragma once
#include <map>
#include <set>
#include <string>

#include "actors/protocol/event_bus.hpp"

namespace arca {

class event_filter {
 public:
  /// `filters`: JSON object of lists, or empty.
  static result<event_filter> parse(const std::string& filters);
  bool matches(const publish_event& e) const;

 private:
  bool match_one(const std::string& key, const std::set<std::string>& values, const publish_event& e) const;
  std::map<std::string, std::set<std::string>> wanted_;
};

/// One line of the stream, with the fields of Docker's old form (status, id, from) for containers and images.
std::string event_line(const publish_event& e);

}  // namespace arca
