#include "vm/qemu/kvm_probe.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::vm {
namespace {

std::optional<kvm_verdict> remembered(const kvm_probe_settings& s) {
  if (s.cache.empty()) return std::nullopt;
  const auto text = fs::read_file(s.cache, 64u << 10);
  if (!text) return std::nullopt;
  const auto document = nlohmann::json::parse(*text, nullptr, false);
  const auto& usable = oci::member(document, "usable");
  if (!usable.is_boolean() || oci::text(document, "key") != s.key) return std::nullopt;
  return kvm_verdict{usable.get<bool>(), oci::text(document, "reason")};
}

void remember(const kvm_probe_settings& s, const kvm_verdict& verdict) {
  if (s.cache.empty()) return;
  const nlohmann::json document = {{"key", s.key}, {"usable", verdict.usable}, {"reason", verdict.reason}};
  if (auto written = fs::write_file_atomic(s.cache, oci::to_text(document)); !written)
    log::warn("the verdict on KVM cannot be kept", log::kv("reason", written.error().message()));
}

}  // namespace

kvm_verdict probe_kvm(const kvm_probe_settings& s) {
  {
    const unique_fd kvm(::open(s.device.c_str(), O_RDWR | O_CLOEXEC));
    if (!kvm) return {false, "no KVM: " + s.device + ": " + std::strerror(errno)};
    const int version = ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
      return {false, "no KVM: " + s.device + " does not speak version " + std::to_string(KVM_API_VERSION)};
  }
  if (access(s.pvm_module.c_str(), F_OK) == 0)
    return {false, "KVM is there but cannot boot a guest: it is PVM, which runs kernels made for it only"};
  if (const auto known = remembered(s)) return *known;
  kvm_verdict verdict;
  if (const auto booted = s.boot(s.deadline_ms))
    verdict = {true, "KVM usable"};
  else
    verdict = {false, "KVM is there but cannot boot a guest: " + booted.error().message()};
  remember(s, verdict);
  return verdict;
}

}  // namespace arca::vm
