#include "tools/arca/options.hpp"

#include <cstdlib>
#include <filesystem>

#include "persistence/base/text.hpp"

namespace arca::cli {
namespace {

struct text_flag {
  const char* name;
  std::string settings::*member;  ///< null: taken as the file's key of this name is
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
      {"kernel-arguments", &settings::kernel_arguments, "further kernel arguments of virtual machines"},
      {"qemu-path", &settings::qemu_path, "QEMU's program"},
      {"vm-accelerator", &settings::vm_accelerator, "auto, kvm or tcg"},
      {"vm-memory", nullptr, "MiB of a virtual machine whose container has no limit"},
      {"vm-cpus", nullptr, "processors of such a one"},
      {"vm-pool", nullptr, "booted virtual machines kept ready: off, auto or a number"},
      {"vm-pool-memory", nullptr, "MiB that those may have together; 0: no limit"},
      {"vm-pool-idle", nullptr, "seconds without a start after which they are given up; 0: never"},
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

struct list_flag {
  const char* name;
  const char* help;
};
const std::vector<list_flag>& list_flags() {
  static const std::vector<list_flag> table = {
      {"host", "further listener: tcp://HOST:PORT or unix:///PATH"},
      {"label", "label of the daemon"},
      {"log-opt", "default log option KEY=VALUE of containers"},
      {"insecure-registry", "registry that may be reached without TLS"},
      {"registry-mirror", "mirror URL, of Docker Hub or HOST=URL"},
      {"registry-ca", "HOST=FOLDER of *.crt that are trusted for this registry"},
      {"default-address-pool", "base=CIDR,size=N"},
  };
  return table;
}

std::string environment_name(std::string flag) {
  for (auto& c : flag) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "ARCA_" + flag;
}

/// One setting as a config file would have it.
std::string document_of(const std::string& key, const std::string& value) {
  const bool number = !value.empty() && value.size() <= 9 && value.find_first_not_of("0123456789") == std::string::npos;
  return "{\"" + key + "\": " + (number ? value : go_quote(value)) + "}";
}

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}
}  // namespace

void daemon_options::add_to(CLI::App& app) {
  app.add_option("--config", config_file_, "config file instead of /etc/arca/config.json");
  const auto text_option = [&](const char* name, const char* help) {
    app.add_option_function<std::string>(
        std::string("--") + name, [this, name](const std::string& v) { text_[name] = v; }, help);
  };
  for (const auto& f : text_flags()) text_option(f.name, f.help);
  for (const auto& f : number_flags()) text_option(f.name, f.help);
  for (const auto& f : switch_flags())
    app.add_flag_function(
        std::string("--") + f.name, [this, f](int64_t count) { given_[f.name] = count > 0; }, f.help);
  for (const auto& f : list_flags()) {
    const std::string name = std::string(f.name) == "host" ? "-H,--host" : std::string("--") + f.name;
    app.add_option(name, lists_[f.name], std::string(f.help) + " (repeatable)");
  }
}

daemon_options::daemon_options() {
  // Not by CLI11's envname: it would also ask for the options of the commands that were not given, after the flags.
  const auto value_of = [](const std::string& flag) -> std::optional<std::string> {
    const char* value = std::getenv(environment_name(flag).c_str());
    return value != nullptr && value[0] != '\0' ? std::optional<std::string>(value) : std::nullopt;
  };
  config_file_ = value_of("config").value_or("");
  for (const auto& f : text_flags())
    if (auto value = value_of(f.name)) text_[f.name] = *value;
  for (const auto& f : number_flags())
    if (auto value = value_of(f.name)) text_[f.name] = *value;
  for (const auto& f : switch_flags())
    if (auto value = value_of(f.name)) given_[f.name] = *value != "0" && *value != "false" && *value != "no";
  for (const auto& f : list_flags())
    if (auto value = value_of(f.name)) lists_[f.name] = {*value};
}

result<settings> daemon_options::resolve() const {
  settings s;
  ARCA_CHECK(load_config_file(s, config_file_));
  for (const auto& f : text_flags())
    if (const auto found = text_.find(f.name); found != text_.end()) {
      if (f.member)
        s.*f.member = found->second;
      else
        ARCA_CHECK(apply_config(s, document_of(f.name, found->second), "command line"));
    }
  for (const auto& f : number_flags()) {
    const auto found = text_.find(f.name);
    if (found == text_.end()) continue;
    const auto& value = found->second;
    if (value.empty() || value.size() > 6 || value.find_first_not_of("0123456789") != std::string::npos)
      return fail(errc::invalid_argument,
                  std::string("--") + f.name + " must be a whole number, not " + go_quote(value));
    s.*f.member = std::stoi(value);
  }
  for (const auto& f : switch_flags())
    if (const auto found = given_.find(f.name); found != given_.end()) s.*f.member = found->second;
  const auto list = [this](const char* name) {
    const auto found = lists_.find(name);
    return found == lists_.end() ? std::vector<std::string>() : found->second;
  };
  for (const auto& host : list("host")) s.hosts.push_back(host);
  for (const auto& label : list("label")) s.labels.push_back(label);
  for (const auto& o : list("log-opt")) {
    const auto at = o.find('=');
    if (at == std::string::npos) return fail(errc::invalid_argument, "--log-opt " + go_quote(o) + " is not KEY=VALUE");
    s.log_opts[o.substr(0, at)] = o.substr(at + 1);
  }
  for (const auto& host : list("insecure-registry")) s.registries[host].insecure = true;
  for (const auto& m : list("registry-mirror")) {
    const auto at = m.find('=');
    const bool named = at != std::string::npos && m.find("://") > at;
    s.registries[named ? m.substr(0, at) : "docker.io"].mirrors.push_back(named ? m.substr(at + 1) : m);
  }
  for (const auto& ca : list("registry-ca")) {
    const auto at = ca.find('=');
    if (at == std::string::npos)
      return fail(errc::invalid_argument, "--registry-ca " + go_quote(ca) + " is not HOST=FOLDER");
    s.registries[ca.substr(0, at)].ca_dir = absolute(ca.substr(at + 1));
  }
  const auto pools = list("default-address-pool");
  if (!pools.empty()) s.address_pools.clear();
  for (const auto& p : pools) {
    address_pool pool;
    for (const auto& part : split(p, ',')) {
      if (part.rfind("base=", 0) == 0)
        pool.base = part.substr(5);
      else if (part.rfind("size=", 0) == 0)
        pool.size = std::atoi(part.c_str() + 5);
      else
        return fail(errc::invalid_argument,
                    "--default-address-pool " + go_quote(p) + ": unknown part " + go_quote(part));
    }
    s.address_pools.push_back(std::move(pool));
  }
  // The daemon does not stay in the folder it was started from.
  for (auto* path : {&s.socket_path, &s.data_root, &s.run_root, &s.tls_ca, &s.tls_cert, &s.tls_key, &s.kernel_path,
                     &s.initrd_path, &s.guest_path})
    *path = absolute(*path);
  // The same checks as for the file: a wrong word is an error that names the setting.
  settings checked;
  for (const auto& [key, value] : text_)
    if (key == "log-level" || key == "vm-accelerator" || key == "log-format" || key == "default-runtime" ||
        key == "log-driver")
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
  for (const auto& [name, values] : lists_)
    for (const auto& value : values) add(name, value);
  return out;
}

}  // namespace arca::cli
