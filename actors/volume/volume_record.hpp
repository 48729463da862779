// A volume as a row, as Docker shows it, and the rules for its name and options.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "persistence/base/error.hpp"

namespace arca {

inline constexpr const char* anonymous_label = "com.docker.volume.anonymous";
using string_map = std::map<std::string, std::string>;

/// Row of table volumes: key and unique value the name.
struct volume_record {
  std::string name;
  int64_t created = 0;                        ///< unix nanoseconds
  std::optional<string_map> labels, options;  ///< none: shown as null
  /// Containers that use it; true: by a mount without a name, so that `rm -v` of the container may remove it.
  std::map<std::string, bool> users;
};

std::string to_document(const volume_record& v);
result<volume_record> volume_from_document(const std::string& text);

struct volume_usage {
  int64_t size = -1;  ///< bytes
};
/// Docker's volume resource; `usage` adds UsageData.
std::string volume_json(const volume_record& v, const std::string& mountpoint,
                        const std::optional<volume_usage>& usage = std::nullopt);

/// errc::invalid_argument in Docker's words, without the "create NAME: " before it.
result<void> check_volume_name(const std::string& name);
/// What the local driver accepts: no options. errc::invalid_argument as Docker for wrong ones, errc::unsupported for
/// right ones (type, device, o: a file system mounted on first use; size: a quota).
result<void> check_volume_options(const string_map& options);

}  // namespace arca
