#include "actors/model/ports.hpp"

#include <charconv>

namespace arca::model {
namespace {
using nlohmann::json;

const json& object_of(const json& in, const char* key) {
  static const json none = json::object();
  const auto found = in.is_object() ? in.find(key) : in.end();
  return found != in.end() && found->is_object() ? *found : none;
}

bool read_number(std::string_view text, uint16_t& out) {
  const auto [at, bad] = std::from_chars(text.data(), text.data() + text.size(), out);
  return bad == std::errc{} && at == text.data() + text.size();
}

// "80/tcp" or "80".
bool read_port(std::string_view key, port_request& out) {
  const auto slash = key.find('/');
  out.protocol = slash == std::string_view::npos ? "tcp" : std::string(key.substr(slash + 1));
  return read_number(key.substr(0, slash), out.container_port);
}

// "8080", "8000-8010" or nothing.
bool read_host_ports(std::string_view text, port_request& out) {
  out.first = out.last = 0;
  if (text.empty()) return true;
  const auto dash = text.find('-');
  if (!read_number(text.substr(0, dash), out.first)) return false;
  out.last = out.first;
  return dash == std::string_view::npos || (read_number(text.substr(dash + 1), out.last) && out.first <= out.last);
}

std::string text_of(const json& in, const char* key) {
  const auto found = in.is_object() ? in.find(key) : in.end();
  return found != in.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string with_protocol(const std::string& key) {
  return key.find('/') == std::string::npos ? key + "/tcp" : key;
}

// The bindings of a port, also where it was written without its protocol.
const json* bindings_of(const json& all, const std::string& key) {
  for (const auto& [name, bindings] : all.items())
    if (with_protocol(name) == with_protocol(key) && bindings.is_array() && !bindings.empty()) return &bindings;
  return nullptr;
}
}  // namespace

std::vector<port_request> port_requests(const container_record& r) {
  std::vector<port_request> wishes;
  const auto& bound = object_of(r.host_config, "PortBindings");
  const bool all = r.host_config.value("PublishAllPorts", false);
  for (const auto& [key, unused] : object_of(r.config, "ExposedPorts").items()) {
    port_request wish;
    if (!read_port(key, wish)) continue;
    const auto* bindings = bindings_of(bound, key);
    if (bindings == nullptr) {
      if (all) wishes.push_back(wish);
      continue;
    }
    for (const auto& binding : *bindings) {
      if (!read_host_ports(text_of(binding, "HostPort"), wish)) continue;
      wish.host_ip = text_of(binding, "HostIp");
      wishes.push_back(wish);
    }
  }
  return wishes;
}

nlohmann::json ports_document(const container_record& r, const std::vector<given_port>& given) {
  if (given.empty()) return {};
  json shown = json::object();
  for (const auto& [key, unused] : object_of(r.config, "ExposedPorts").items()) shown[with_protocol(key)] = nullptr;
  for (const auto& p : given)
    shown[std::to_string(p.container_port) + "/" + p.protocol].push_back(
        {{"HostIp", p.host_ip}, {"HostPort", std::to_string(p.host_port)}});
  return shown;
}

}  // namespace arca::model
