// arca setup: the guest of virtual machines.
#include <chrono>
#include <cstdio>

#include "tools/arca/api_client.hpp"
#include "tools/arca/commands.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/installed.hpp"
#include "vm/guest_image/setup.hpp"

namespace arca::cli {
namespace {
using clock = std::chrono::steady_clock;

int failed(const error& why) {
  std::fprintf(stderr, "arca: %s\n", why.message().c_str());
  return 1;
}

int list(const settings& config) {
  const auto versions = vm::installed_versions(config.data_root);
  if (!versions) return failed(versions.error());
  const std::string current = vm::current_version(config.data_root);
  for (const auto& version : *versions) {
    const auto guest = vm::read_manifest(vm::guests_folder(config.data_root) + "/" + version);
    std::printf("%c %-28s ", version == current ? '*' : ' ', version.c_str());
    if (guest)
      std::printf("kernel %s, Arca %s, %s\n", guest->kernel_release.c_str(), guest->arca_version.c_str(),
                  guest->made_at.c_str());
    else
      std::printf("damaged\n");
  }
  if (versions->empty()) std::printf("no guest is installed: run `arca setup`\n");
  return 0;
}

int prune(const settings& config) {
  const auto removed = vm::prune_guests(config.data_root, config.run_root);
  if (!removed) return failed(removed.error());
  for (const auto& version : *removed) std::printf("removed %s\n", version.c_str());
  if (removed->empty()) std::printf("nothing to remove\n");
  return 0;
}
}  // namespace

int setup(const settings& config, const setup_flags& flags) {
  if (flags.list) return list(config);
  if (flags.prune) return prune(config);
  vm::setup_order order;
  order.data_root = config.data_root;
  order.agent_path = guest_program(config);
  order.package_file = flags.package_file;
  order.force = flags.force;
  order.note = [](const std::string& text) {
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  };
  const auto begin = clock::now();
  const auto done = vm::set_up_guest(order);
  if (!done) return failed(done.error());
  const double seconds = std::chrono::duration<double>(clock::now() - begin).count();
  const auto& guest = done->guest;
  if (done->made)
    std::printf("guest %s in %s: kernel %s (%.1f MB), initramfs %.1f MB, made in %.1f s\n", guest.version.c_str(),
                (vm::guests_folder(config.data_root) + "/" + guest.version).c_str(), guest.kernel_release.c_str(),
                static_cast<double>(guest.kernel.size) / 1e6, static_cast<double>(guest.initrd.size) / 1e6, seconds);
  else
    std::printf("guest %s is up to date\n", guest.version.c_str());
  // A daemon that runs looks at it now: the default runtime `auto` may become vm. Without one there is nothing to tell.
  (void)api_client(config.socket_path).call("GET", "/info");
  return 0;
}

}  // namespace arca::cli
