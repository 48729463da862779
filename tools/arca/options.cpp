#include "tools/arca/options.hpp"

#include "persistence/base/text.hpp"

namespace arca::cli {
namespace {

struct text_flag {
  const char* name;
  std::string settings::*member;
  const char* help;
};
const std::vector<text_flag>& text_flags() {
  static const std::vector<text_flag> table = {
      {"socket-path", &settings::socket_path, "API socket"},
      {"tlscacert", &settings::tls_ca, "CA that client certificates are checked with"},
      {"tlscert", &settings::tls_cert, "certificate of tcp hosts"},
      {"tlskey", &settings::tls_key, "its key"},
      {"data-root", &settings::data_root, "images, containers, volumes, state"},
      {"run-root", &settings::run_root, "run folders of machines"},
      {"log-level", &settings::log_level, "trace, debug, info, warn, error"},
      {"log-format", &settings::log_format, "text or json"},
      {"default-runtime", &settings::default_runtime, "auto, namespace or vm"},
      {"log-driver", &settings::log_driver, "default log driver of containers: json-file or none"},
      {"bridge", &settings::bridge_name, "device of the default network"},
      {"kernel-path", &settings::kernel_path, "kernel of virtual machines"},
      {"initrd-path", &settings::initrd_path, "initramfs of virtual machines"},
      {"guest-path", &settings::guest_path, "the arca-guest program"},
      {"cgroup-parent", &settings::cgroup_parent, "parent of all cgroups"},
  };
  return table;
}

struct number_flag {
  const char* name;
  int settings::*member;
  const char* help;
};
const std::vector<number_flag>& number_flags() {
  static const std::vector<number_flag> table = {
      {"shutdown-timeout", &settings::shutdown_timeout, "seconds that containers get to stop at exit"},
      {"agent-pool", &settings::agent_pool, "idle agents kept ready; 0: none"},
  };
  return table;
}

struct switch_flag {
  const char* name;
  bool settings::*member;
  const char* help;
};
const std::vector<switch_flag>& switch_flags() {
  static const std::vector<switch_flag> table = {
      {"tls", &settings::tls, "TLS on tcp hosts"},
      {"tlsverify", &settings::tls_verify, "clients must show a certificate"},
      {"allow-insecure-tcp", &settings::allow_insecure_tcp, "plain tcp on an address that is not loopback"},
      {"stop-containers-on-exit", &settings::stop_containers_on_exit, "SIGTERM stops the containers"},
  };
  return table;
}

std::string environment_name(std::string flag) {
  for (auto& c : flag) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "ARCA_" + flag;
}
}  // namespace

void daemon_options::add_to(CLI::App& app) {
  app.add_option("--config", config_file_, "config file instead of /etc/arca/config.json")->envname("ARCA_CONFIG");
  const auto text_option = [&](const char* name, const char* help) {
    app.add_option_function<std::string>(
           std::string("--") + name, [this, name](const std::string& v) { text_[name] = v; }, help)
        ->envname(environment_name(name));
  };
  for (const auto& f : text_flags()) text_option(f.name, f.help);
  for (const auto& f : number_flags()) text_option(f.name, f.help);
  for (const auto& f : switch_flags())
    app.add_flag_function(std::string("--") + f.name, [this, f](int64_t count) { given_[f.name] = count > 0; }, f.help);
  app.add_option("-H,--host", hosts_, "further listener: tcp://HOST:PORT or unix:///PATH (repeatable)")->envname("ARCA_HOST");
  app.add_option("--label", labels_, "label of the daemon (repeatable)");
  app.add_option("--log-opt", log_opts_, "default log option KEY=VALUE of containers (repeatable)");
  app.add_option("--insecure-registry", insecure_, "registry that may be reached without TLS (repeatable)");
  app.add_option("--registry-mirror", mirrors_, "mirror URL, of Docker Hub or HOST=URL (repeatable)");
  app.add_option("--default-address-pool", pools_, "base=CIDR,size=N (repeatable)");
}

result<settings> daemon_options::resolve() const {
  settings s;
  ARCA_CHECK(load_config_file(s, config_file_));
  for (const auto& f : text_flags())
    if (const auto found = text_.find(f.name); found != text_.end()) s.*f.member = found->second;
  for (const auto& f : number_flags()) {
    const auto found = text_.find(f.name);
    if (found == text_.end()) continue;
    const auto& value = found->second;
    if (value.empty() || value.size() > 6 || value.find_first_not_of("0123456789") != std::string::npos)
      return fail(errc::invalid_argument, std::string("--") + f.name + " must be a whole number, not " + go_quote(value));
    s.*f.member = std::stoi(value);
  }
  for (const auto& f : switch_flags())
    if (const auto found = given_.find(f.name); found != given_.end()) s.*f.member = found->second;
  s.hosts.insert(s.hosts.end(), hosts_.begin(), hosts_.end());
  s.labels.insert(s.labels.end(), labels_.begin(), labels_.end());
  for (const auto& o : log_opts_) {
    const auto at = o.find('=');
    if (at == std::string::npos) return fail(errc::invalid_argument, "--log-opt " + go_quote(o) + " is not KEY=VALUE");
    s.log_opts[o.substr(0, at)] = o.substr(at + 1);
  }
  for (const auto& host : insecure_) s.registries[host].insecure = true;
  for (const auto& m : mirrors_) {
    const auto at = m.find('=');
    const bool named = at != std::string::npos && m.find("://") > at;
    s.registries[named ? m.substr(0, at) : "docker.io"].mirrors.push_back(named ? m.substr(at + 1) : m);
  }
  if (!pools_.empty()) s.address_pools.clear();
  for (const auto& p : pools_) {
    address_pool pool;
    for (const auto& part : split(p, ',')) {
      if (part.rfind("base=", 0) == 0) pool.base = part.substr(5);
      else if (part.rfind("size=", 0) == 0) pool.size = std::atoi(part.c_str() + 5);
      else return fail(errc::invalid_argument, "--default-address-pool " + go_quote(p) + ": unknown part " + go_quote(part));
    }
    s.address_pools.push_back(std::move(pool));
  }
  // The same checks as for the file: a wrong word is an error that names the setting.
  settings checked;
  for (const auto& [key, value] : text_)
    if (key == "log-level" || key == "log-format" || key == "default-runtime" || key == "log-driver")
      ARCA_CHECK(apply_config(checked, "{\"" + key + "\": " + go_quote(value) + "}", "command line"));
  return s;
}

std::vector<std::string> daemon_options::arguments() const {
  std::vector<std::string> out;
  const auto add = [&](const std::string& flag, const std::string& value) {
    out.push_back("--" + flag);
    out.push_back(value);
  };
  if (!config_file_.empty()) add("config", config_file_);
  for (const auto& [name, value] : text_) add(name, value);
  for (const auto& [name, on] : given_)
    if (on) out.push_back("--" + name);
  for (const auto& v : hosts_) add("host", v);
  for (const auto& v : labels_) add("label", v);
  for (const auto& v : log_opts_) add("log-opt", v);
  for (const auto& v : insecure_) add("insecure-registry", v);
  for (const auto& v : mirrors_) add("registry-mirror", v);
  for (const auto& v : pools_) add("default-address-pool", v);
  return out;
}

}  // namespace arca::cli
