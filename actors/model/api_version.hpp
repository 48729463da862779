// The API version of a request: Docker's are all 1.MINOR.
#pragma once
#include <string_view>

namespace arca::model {

struct api_version {
  int minor = 51;
  constexpr bool before(int other) const { return minor < other; }
  /// "1.43" or "v1.43" → 43; anything else is the newest.
  static api_version parse(std::string_view text);
};

inline constexpr std::string_view newest_api = "1.51";
inline constexpr std::string_view oldest_api = "1.24";

}  // namespace arca::model
