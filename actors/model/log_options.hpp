// HostConfig.LogConfig: which drivers exist and what their options mean.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/go_json.hpp"

namespace arca::model {

struct log_options {
  std::string driver = "json-file";  ///< json-file or none
  int64_t max_size = -1;             ///< bytes; -1: never rotated
  int max_files = 1;
  bool compress = false;
  bool non_blocking = false;
  int64_t max_buffer_size = 1000000;
  std::string tag;                   ///< expanded; "" none
  std::map<std::string, std::string> attributes;  ///< from labels, labels-regex, env, env-regex (and tag)
};

/// What Docker refuses at create (400): unknown driver, unknown option, mode, max-buffer-size.
result<void> check_log_config(const json& log_config);

/// What Docker refuses at start (500): "failed to create task for container: failed to initialize logging driver: …".
/// `defaults`: the daemon's options, used where the driver is the default and the container gives none itself.
/// `config` is the container's Config (labels, env), `details` supply the tag template's fields.
struct log_tag_fields {
  std::string id, name, image_id, image_name, command, daemon = "arca";
};
result<log_options> resolve_log_options(const json& log_config, const std::map<std::string, std::string>& defaults,
                                        const json& config, const log_tag_fields& fields);

/// go-units RAMInBytes: "10k", "1.5m", "20MiB" → bytes; "invalid size: 'many'".
result<int64_t> ram_in_bytes(std::string_view text);

}  // namespace arca::model
