#include "persistence/registry/endpoint.hpp"

#include <map>

#include "persistence/base/text.hpp"

namespace arca::registry {
namespace {
std::mutex scheme_lock;
std::map<std::string, std::string>& schemes() {
  static std::map<std::string, std::string> table;
  return table;
}
std::string remembered_scheme(const std::string& authority) {
  const std::lock_guard guard(scheme_lock);
  const auto found = schemes().find(authority);
  return found == schemes().end() ? std::string() : found->second;
}

bool hub_name(const std::string& domain) {
  return domain == "docker.io" || domain == "index.docker.io" || domain == "registry-1.docker.io";
}

const registry_settings* settings_of(const client_options& options, const std::string& domain) {
  auto found = options.registries.find(domain);
  for (const char* alias : {"docker.io", "registry-1.docker.io", "index.docker.io"})
    if (found == options.registries.end() && hub_name(domain)) found = options.registries.find(alias);
  return found == options.registries.end() ? nullptr : &found->second;
}

bool insecure(const client_options& options, const url& to) {
  if (is_loopback_name(to.host)) return true;
  const auto* s = settings_of(options, to.authority());
  if (s == nullptr) s = settings_of(options, to.host);
  return s != nullptr && s->insecure;
}

result<url> base_of(const std::string& scheme, const std::string& authority) {
  return parse_url(scheme + "://" + authority + '/');
}
}  // namespace

void remember_scheme(const std::string& authority, const std::string& scheme) {
  constexpr size_t limit = 1000;
  const std::lock_guard guard(scheme_lock);
  if (schemes().size() >= limit) schemes().clear();
  schemes()[authority] = scheme;
}

tls_options tls_for(const client_options& options, const url& to) {
  tls_options out;
  out.verify = !insecure(options, to);
  for (const auto& root : options.certificate_roots) {
    out.folders.push_back(root + '/' + to.authority());
    if (!to.explicit_port) continue;
    if (to.port == "443") out.folders.push_back(root + '/' + to.host);
  }
  for (const auto& name : {to.authority(), to.host})
    if (const auto* s = settings_of(options, name); s != nullptr && !s->ca_dir.empty()) {
      out.folders.push_back(s->ca_dir);
      break;
    }
  return out;
}

result<std::vector<endpoint>> endpoints_of(const client_options& options, const reference& name,
                                           const credentials& who) {
  std::vector<endpoint> out;
  if (name.domain().empty()) return fail(errc::invalid_argument, "invalid reference format");
  if (const auto* s = settings_of(options, name.domain())) {
    for (const auto& mirror : s->mirrors) {
      ARCA_TRY(base, parse_url(mirror.find("://") == std::string::npos ? "https://" + mirror : mirror));
      endpoint e;
      e.base = base;
      if (!e.base.target.ends_with('/')) e.base.target += '/';
      e.mirror = true;
      e.tls = tls_for(options, e.base);
      out.push_back(std::move(e));
    }
  }
  const std::string host = hub_name(name.domain()) ? "registry-1.docker.io" : name.domain();
  ARCA_TRY(secure, base_of("https", host));
  endpoint e;
  e.base = secure;
  e.tls = tls_for(options, secure);
  if (meant_for(who, name.domain())) e.who = who;
  const bool also_plain = insecure(options, secure);
  const bool plain_first = also_plain && remembered_scheme(secure.authority()) == "http";
  if (!plain_first) out.push_back(e);
  if (also_plain) {
    ARCA_TRY(plain, base_of("http", host));
    auto p = e;
    p.base = plain;
    out.push_back(std::move(p));
  }
  if (plain_first) out.push_back(std::move(e));
  return out;
}

}  // namespace arca::registry
