// The server as the daemon uses it: Docker's routes over an engine.
#include "http/handlers/services.hpp"
#include "http/routes.hpp"
#include "http/server.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

// The engine's id as /info shows it, made once and kept in the data root.
std::string engine_id(const std::string& data_root) {
  const auto path = data_root + "/engine-id";
  if (auto kept = fs::read_file(path, 128); kept && kept->size() == 36) return *kept;
  auto hex = random_hex(16);
  for (const size_t at : {8u, 13u, 18u, 23u}) hex.insert(at, "-");
  if (auto written = fs::write_file_atomic(path, hex, 0600); !written)
    log::warn("the engine's id could not be kept", log::kv("error", written.error().message()));
  return hex;
}

model::engine_facts facts_of(const settings& config) {
  model::engine_facts facts;
  facts.id = engine_id(config.data_root);
  facts.data_root = config.data_root;
  facts.labels = config.labels;
  facts.log_driver = config.log_driver;
  for (const auto& [host, registry] : config.registries) {
    if (registry.insecure) facts.insecure_registries.push_back(host);
    if (host == "docker.io") facts.mirrors = registry.mirrors;
  }
  for (const auto& pool : config.address_pools) facts.address_pools.emplace_back(pool.base, pool.size);
  facts.debug = config.log_level == "debug" || config.log_level == "trace";
  return facts;
}

}  // namespace

result<std::unique_ptr<server>> server::start(engine& e, const std::vector<listener>& listeners) {
  static const router routes(all_routes());
  const auto& config = e.context().config;
  server_options options;
  options.tls_certificate = config.tls_cert;
  options.tls_key = config.tls_key;
  options.tls_ca = config.tls_ca;
  options.tls_verify = config.tls_verify;
  auto handlers = std::make_shared<services>(e, facts_of(config));
  ARCA_TRY(made, start(options, listeners, routes, handlers.get(), &e.context().port->handle().home_system()));
  made->keep(std::move(handlers));
  return std::move(made);
}

}  // namespace arca::http
