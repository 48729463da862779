// POST /containers/create. Docker finds mistakes in two stages, and clients see which: decode_create knows only the
// body (400 before an image is looked for); complete_create also knows the image.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/container_record.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

/// Full id of a container named by id, name or unique prefix; errc::not_found "No such container: x".
using container_lookup = std::function<result<std::string>(const std::string&)>;

struct create_settings {
  std::string default_runtime = "runc";  ///< shown when the client names none
  std::vector<std::string> runtimes = {"runc", "io.containerd.runc.v2", "namespace", "vm"};
  std::string log_driver = "json-file";  ///< shown when the client names none
};

/// Stage 1: decodes, applies what older API versions mean, validates, fills defaults. The answer is an object with
/// Config, HostConfig and NetworkingConfig (every field present) and Warnings (list of strings). `platform` is the
/// query parameter. Errors: errc::invalid_argument with Docker's text, always. Without a lookup, no container is
/// missed.
result<json> decode_create(std::string_view body, api_version version, std::string_view platform = {},
                           const host_facts& host = this_host(), const create_settings& settings = {},
                           const container_lookup& lookup = {});

/// "NAME" or "/NAME" → "NAME". errc::invalid_argument "Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are
/// allowed". Docker checks it after the image was found.
result<std::string> check_container_name(std::string_view name);

/// Stage 2, after the image was found: merges `image_config` (the `config` object of the image, null for no image) into
/// request["Config"], then checks what Docker checks only now: "no command specified", log options (400),
/// --security-opt (errc::internal: Docker says 500), Links (400, with a lookup). Sets Config.Hostname.
result<void> complete_create(json& request, const json& image_config, const std::string& container_id,
                             const create_settings& settings = {}, const container_lookup& lookup = {});

/// Docker's merge rules alone: Env by name, Cmd and Entrypoint, ExposedPorts, Volumes, Labels, WorkingDir, User,
/// StopSignal, Healthcheck field by field.
void merge_image_config(json& config, const json& image_config);

/// A name for a container without one ("brave_lovelace"). `attempt` > 0 appends a digit.
std::string random_container_name(int attempt = 0);

/// "Conflict. The container name "/x" is already in use by container "ID". You have to remove (or rename) …".
error name_conflict(const std::string& name, const std::string& holder_id);

}  // namespace arca::model
