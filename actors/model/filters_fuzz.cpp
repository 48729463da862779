// Query values: filters, times, signals, detach keys, sizes, tags.
#include <cstdlib>

#include "actors/model/detach_keys.hpp"
#include "actors/model/list_filters.hpp"
#include "actors/model/log_options.hpp"
#include "actors/model/signals.hpp"
#include "actors/model/timestamp.hpp"

using namespace arca::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  parse_time_or_duration(text, 1'700'000'000'000'000'000).has_value();
  parse_unix_time(text).has_value();
  parse_signal(text).has_value();
  parse_detach_keys(text).has_value();
  size_in_bytes(text, 1024).has_value();
  expand_log_tag(text, {}).has_value();
  auto given = filters::parse(text);
  if (!given) return 0;
  if (!filters::parse(given->to_json())) std::abort();
  auto record = std::make_shared<container_record>();
  record->id = std::string(64, 'a');
  record->name = "web";
  record->config = {{"Labels", {{"app", "one"}}}};
  record->host_config = {{"NetworkMode", "bridge"}};
  list_options options;
  options.where = *given;
  options.all = true;
  select_containers({record}, options, {}).has_value();
  if (check_prune_filters(*given)) prune_matches(*record, *given, 1);
  return 0;
}
