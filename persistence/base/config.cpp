#include "persistence/base/config.hpp"

#include <unistd.h>

#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::json;

struct bad_value {
  std::string key, wanted;
};

template <class T>
T as(const json& value, const std::string& key) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) throw bad_value{key, "true or false"};
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) throw bad_value{key, "a whole number"};
  } else {
    if (!value.is_string()) throw bad_value{key, "a string"};
  }
  return value.get<T>();
}

std::vector<std::string> strings(const json& value, const std::string& key) {
  if (!value.is_array()) throw bad_value{key, "a list of strings"};
  std::vector<std::string> out;
  for (const auto& item : value) out.push_back(as<std::string>(item, key));
  return out;
}

const json& object(const json& value, const std::string& key) {
  if (!value.is_object()) throw bad_value{key, "an object"};
  return value;
}

std::string one_of(const json& value, const std::string& key, std::initializer_list<const char*> allowed) {
  auto text = as<std::string>(value, key);
  std::string wanted;
  for (const char* a : allowed) {
    if (text == a) return text;
    wanted += (wanted.empty() ? "" : ", ") + std::string(a);
  }
  throw bad_value{key, "one of " + wanted};
}

registry_settings registry_of(const json& value, const std::string& key) {
  registry_settings out;
  for (const auto& [name, v] : object(value, key).items()) {
    const std::string path = key + "." + name;
    if (name == "mirrors")
      out.mirrors = strings(v, path);
    else if (name == "insecure")
      out.insecure = as<bool>(v, path);
    else if (name == "ca-dir")
      out.ca_dir = as<std::string>(v, path);
    else
      throw bad_value{path, ""};
  }
  return out;
}

address_pool pool_of(const json& value, const std::string& key) {
  address_pool out;
  for (const auto& [name, v] : object(value, key).items()) {
    if (name == "base")
      out.base = as<std::string>(v, key + ".base");
    else if (name == "size")
      out.size = as<int>(v, key + ".size");
    else
      throw bad_value{key + "." + name, ""};
  }
  return out;
}

using setter = std::function<void(settings&, const json&, const std::string&)>;

template <class T>
setter plain(T settings::*member) {
  return [member](settings& s, const json& v, const std::string& k) { s.*member = as<T>(v, k); };
}
setter at_least(int settings::*member, int least) {
  return [member, least](settings& s, const json& v, const std::string& k) {
    const int given = as<int>(v, k);
    if (given < least) throw bad_value{k, "at least " + std::to_string(least)};
    s.*member = given;
  };
}
setter list(std::vector<std::string> settings::*member) {
  return [member](settings& s, const json& v, const std::string& k) { s.*member = strings(v, k); };
}

// Every key of the file on one screen.
const std::map<std::string, setter>& keys() {
  static const std::map<std::string, setter> table = {
      {"socket-path", plain(&settings::socket_path)},
      {"hosts", list(&settings::hosts)},
      {"tls", plain(&settings::tls)},
      {"tlscacert", plain(&settings::tls_ca)},
      {"tlscert", plain(&settings::tls_cert)},
      {"tlskey", plain(&settings::tls_key)},
      {"tlsverify", plain(&settings::tls_verify)},
      {"allow-insecure-tcp", plain(&settings::allow_insecure_tcp)},
      {"data-root", plain(&settings::data_root)},
      {"run-root", plain(&settings::run_root)},
      {"log-level",
       [](settings& s, const json& v, const std::string& k) {
         s.log_level = one_of(v, k, {"trace", "debug", "info", "warn", "error"});
       }},
      {"log-format",
       [](settings& s, const json& v, const std::string& k) {
         s.log_format = one_of(v, k, {"text", "json"});
       }},
      {"default-runtime",
       [](settings& s, const json& v, const std::string& k) {
         s.default_runtime = one_of(v, k, {"auto", "namespace", "vm"});
       }},
      {"registries",
       [](settings& s, const json& v, const std::string& k) {
         for (const auto& [host, r] : object(v, k).items()) s.registries[host] = registry_of(r, k + "." + host);
       }},
      {"log-driver",
       [](settings& s, const json& v, const std::string& k) {
         s.log_driver = one_of(v, k, {"json-file", "none"});
       }},
      {"log-opts",
       [](settings& s, const json& v, const std::string& k) {
         s.log_opts.clear();
         for (const auto& [name, o] : object(v, k).items()) s.log_opts[name] = as<std::string>(o, k + "." + name);
       }},
      {"default-address-pools",
       [](settings& s, const json& v, const std::string& k) {
         if (!v.is_array()) throw bad_value{k, "a list"};
         s.address_pools.clear();
         for (const auto& p : v) s.address_pools.push_back(pool_of(p, k));
       }},
      {"bridge", plain(&settings::bridge_name)},
      {"stop-containers-on-exit", plain(&settings::stop_containers_on_exit)},
      {"shutdown-timeout", plain(&settings::shutdown_timeout)},
      {"kernel-path", plain(&settings::kernel_path)},
      {"initrd-path", plain(&settings::initrd_path)},
      {"kernel-arguments", plain(&settings::kernel_arguments)},
      {"qemu-path", plain(&settings::qemu_path)},
      {"vm-accelerator",
       [](settings& s, const json& v, const std::string& k) {
         s.vm_accelerator = one_of(v, k, {"auto", "kvm", "tcg"});
       }},
      {"vm-memory", at_least(&settings::vm_memory, 128)},
      {"vm-cpus", at_least(&settings::vm_cpus, 1)},
      {"vm-pool",
       [](settings& s, const json& v, const std::string& k) {
         if (v == "off" || v == "auto") {
           s.vm_pool = v == "off" ? 0 : -1;
           return;
         }
         if (!v.is_number_unsigned() || v > 64) throw bad_value{k, "off, auto or a number up to 64"};
         s.vm_pool = v.get<int>();
       }},
      {"vm-pool-memory", at_least(&settings::vm_pool_memory, 0)},
      {"vm-pool-idle", at_least(&settings::vm_pool_idle, 0)},
      {"guest-path", plain(&settings::guest_path)},
      {"cgroup-parent", plain(&settings::cgroup_parent)},
      {"agent-pool", plain(&settings::agent_pool)},
      {"labels", list(&settings::labels)},
  };
  return table;
}
}  // namespace

std::string guest_program(const settings& config) {
  if (!config.guest_path.empty()) return config.guest_path;
  std::array<char, 4096> path{};
  const auto n = ::readlink("/proc/self/exe", path.data(), path.size());
  const std::string own(path.data(), n > 0 ? static_cast<size_t>(n) : 0);
  return own.substr(0, own.rfind('/') + 1) + "arca-guest";
}

result<void> apply_config(settings& into, const std::string& json_text, const std::string& file_name) {
  const json document = json::parse(json_text, nullptr, false);
  if (!document.is_object()) return fail(errc::invalid_argument, file_name + ": not a JSON object");
  try {
    for (const auto& [key, value] : document.items()) {
      const auto found = keys().find(key);
      if (found == keys().end()) throw bad_value{key, ""};
      found->second(into, value, key);
    }
  } catch (const bad_value& bad) {
    if (bad.wanted.empty()) return fail(errc::invalid_argument, file_name + ": unknown key " + go_quote(bad.key));
    return fail(errc::invalid_argument, file_name + ": key " + go_quote(bad.key) + " must be " + bad.wanted);
  }
  return {};
}

result<void> load_config_file(settings& into, const std::string& path) {
  std::vector<std::string> candidates;
  if (!path.empty()) {
    candidates = {path};
  } else {
    candidates = {"/etc/arca/config.json"};
    if (const char* home = ::getenv("HOME")) candidates.push_back(std::string(home) + "/.arca/config.json");
  }
  for (const auto& file : candidates) {
    auto text = fs::read_file(file, 1u << 20);
    if (text) return apply_config(into, *text, file);
    if (text.error().code() != errc::not_found || !path.empty()) return fail(text.error());
  }
  return {};
}

}  // namespace arca
