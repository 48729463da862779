// The log: spdlog, one line an event, structured as key=value after the message.
#pragma once
#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::log {

enum class format : uint8_t { text, json };

/// Sets level ("trace" … "error"; "warn") and format of the process's log, to stderr. An unknown level is an error.
result<void> configure(std::string_view level, format form);

/// key="value", quoted only where needed: kv("container", id).
std::string kv(std::string_view key, std::string_view value);
std::string kv(std::string_view key, int64_t value);

template <class... Fields>
void info(std::string_view message, const Fields&... fields) {
  if (spdlog::should_log(spdlog::level::info)) {
    std::string line(message);
    ((line += ' ', line += fields), ...);
    spdlog::info("{}", line);
  }
}
template <class... Fields>
void warn(std::string_view message, const Fields&... fields) {
  std::string line(message);
  ((line += ' ', line += fields), ...);
  spdlog::warn("{}", line);
}
template <class... Fields>
void error(std::string_view message, const Fields&... fields) {
  std::string line(message);
  ((line += ' ', line += fields), ...);
  spdlog::error("{}", line);
}
template <class... Fields>
void debug(std::string_view message, const Fields&... fields) {
  if (spdlog::should_log(spdlog::level::debug)) {
    std::string line(message);
    ((line += ' ', line += fields), ...);
    spdlog::debug("{}", line);
  }
}

}  // namespace arca::log
