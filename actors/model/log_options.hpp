// HostConfig.LogConfig: which drivers exist and what their options mean.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "actors/model/go_json.hpp"

namespace arca::model {

struct log_options {
  std::string driver = "json-file";  ///< json-file, local or none
  int64_t max_size = -1;             ///< bytes; -1: never rotated
  int max_files = 1;
  bool compress = false;
  bool non_blocking = false;
  int64_t max_buffer_size = 1000000;
  std::map<std::string, std::string> attributes;  ///< of each line: from labels, labels-regex, env, env-regex, tag
};

/// What Docker refuses at create (400): unknown driver, unknown option, mode, max-buffer-size.
result<void> check_log_config(const json& log_config);

/// The daemon's own default driver and options. Docker Engine finds unknown names when it starts; a value without sense
/// is found as well here, where it would fail every start of a container.
result<void> check_default_log_options(const std::string& driver, const std::map<std::string, std::string>& options);

struct log_tag_fields {
  std::string id, name, image_id, image_name, command, daemon = "arca";
};

/// The meaning of a checked LogConfig. `defaults` are the daemon's options for its own default driver `default_driver`,
/// each used where the container gives none. `config` is the container's Config (Labels, Env). What Docker refuses only
/// at start is errc::internal "failed to create task for container: failed to initialize logging driver: …".
result<log_options> resolve_log_options(const json& log_config, const std::map<std::string, std::string>& defaults,
                                        const json& config, const log_tag_fields& fields,
                                        std::string_view default_driver = "json-file");

/// A Go template of `tag`: text and {{.Name}}, {{.ID}}, {{.FullID}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}},
/// {{.Command}}, {{.DaemonName}}. Errors have text/template's words.
result<std::string> expand_log_tag(std::string_view text, const log_tag_fields& fields);

/// go-units: "10k", "1.5m", "20MiB" → bytes with 1024 (RAMInBytes) or 1000 (FromHumanSize) as the step.
/// errc::invalid_argument "invalid size: 'many'".
result<int64_t> size_in_bytes(std::string_view text, int64_t step);

}  // namespace arca::model
