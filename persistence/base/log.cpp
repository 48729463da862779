#include "persistence/base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

#include "persistence/base/text.hpp"

namespace arca::log {

result<void> configure(std::string_view level, format form) {
  const auto parsed = spdlog::level::from_str(level == "warn" ? "warning" : std::string(level));
  if (parsed == spdlog::level::off && level != "off")
    return fail(errc::invalid_argument, "unknown log level " + go_quote(level));
  auto logger = std::make_shared<spdlog::logger>("arca", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  if (form == format::json) {
    logger->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","thread":%t,"message":"%v"})");
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  }
  spdlog::set_default_logger(std::move(logger));
  return {};
}

std::string kv(std::string_view key, std::string_view value) {
  std::string out(key);
  out += '=';
  if (value.empty() || value.find_first_of(" \"=\n\\") != std::string_view::npos) {
    out += go_quote(value);
  } else {
    out += value;
  }
  return out;
}

std::string kv(std::string_view key, int64_t value) {
  return std::string(key) + '=' + std::to_string(value);
}

}  // namespace arca::log
