// What an image runs on: os, architecture, variant.
#pragma once
#include <string>

#include "persistence/base/error.hpp"

namespace arca::images {

struct platform {
  std::string os, architecture, variant;
  bool empty() const noexcept { return os.empty() && architecture.empty(); }
  bool operator==(const platform&) const = default;
};

/// "linux/arm64/v8", "arm64" or "linux" (the rest is this machine's); usual other names are understood (x86_64,
/// aarch64). errc::invalid_argument in Docker's words.
result<platform> parse_platform(const std::string& text);
std::string to_string(const platform& p);  ///< "linux/amd64", with the variant if there is one
/// The platform of this machine.
platform host_platform();
/// Does an image for `have` run where `want` is asked? An empty variant matches any.
bool matches(const platform& want, const platform& have) noexcept;

}  // namespace arca::images
