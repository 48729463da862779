#include "guest/vm/calls.hpp"

#include "guest/vm/rooted.hpp"
#include "guest/vm/uevents.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr auto device_limit = 5000ms;
}  // namespace

result<void> vm_calls::greet(const std::string& seed, int64_t now) {
  if (!seed.empty()) ARCA_CHECK(seed_random(seed));
  return now == 0 ? result<void>{} : set_clock(now);
}

// On the loop, where its process cannot have become another one meanwhile.
result<std::shared_ptr<const unique_fd>> vm_calls::root(const std::string& container) const {
  pid_t process = 0;
  if (!container.empty()) {
    ARCA_TRY(init, agent_.init_pid(container));
    process = init;
  }
  ARCA_TRY(opened, root_of(process));
  return std::make_shared<const unique_fd>(std::move(opened));
}

void vm_calls::mount(const mount_call& what, const std::string& token, const reply& done) {
  if (what.target.empty() == token.empty())
    return done(fail(errc::invalid_argument, "a mount has either a target or a token"));
  worker_.run<unique_fd>(
      [this, what]() -> result<unique_fd> {
        ARCA_TRY(tree, make_mount(what, modules_));
        if (!what.target.empty()) ARCA_CHECK(attach_mount(tree.get(), what.target));
        return std::move(tree);
      },
      [this, token, done](result<unique_fd> tree) {
        if (!tree) return done(fail(tree.error()));
        if (!token.empty() && !agent_.keep(token, std::move(*tree)))
          return done(fail(errc::unavailable, "too many mounts are kept"));
        done({});
      });
}

void vm_calls::unmount(const std::string& target, bool detach, reply done) {
  worker_.run<void>([target, detach] { return guest::unmount(target, detach); }, std::move(done));
}

void vm_calls::write_file(const std::string& container, const std::string& path, const std::string& content,
                          uint32_t mode, const reply& done) {
  if (content.size() > most_content) return done(fail(errc::invalid_argument, "the file is larger than 1 MiB"));
  const auto below = root(container);
  if (!below) return done(fail(below.error()));
  worker_.run<void>([below = *below, path, content, mode] { return write_file_in(below->get(), path, content, mode); },
                    done);
}

void vm_calls::make_directory(const std::string& container, const std::string& path, uint32_t mode, bool parents,
                              const reply& done) {
  const auto below = root(container);
  if (!below) return done(fail(below.error()));
  worker_.run<void>(
      [below = *below, path, mode, parents] { return make_directory_in(below->get(), path, mode, parents); }, done);
}

result<void> vm_calls::set_sysctls(const std::map<std::string, std::string>& sysctls) {
  for (const auto& [name, value] : sysctls) ARCA_CHECK(set_sysctl(name, value));
  return {};
}

void vm_calls::set_up_emulator(const emulator& what, reply done) {
  worker_.run<void>(
      [this, what]() -> result<void> {
        ARCA_CHECK(modules_.load("binfmt_misc"));
        return guest::set_up_emulator(what);
      },
      std::move(done));
}

void vm_calls::configure_interface(const interface_config& config, const std::string& container, reply done) {
  worker_.run<unique_fd>(
      [this, config, own = !container.empty()]() -> result<unique_fd> {
        const uevents news;
        ARCA_CHECK(modules_.load("virtio_net"));
        if (!config.mac.empty() && !news.wait("net", device_limit, [&] { return has_interface(config.mac); }))
          return fail(errc::not_found, "no network device with address " + config.mac);
        if (own) return configure_in_new_network(config);
        ARCA_CHECK(guest::configure_interface(config));
        return unique_fd();
      },
      [this, container, done = std::move(done)](result<unique_fd> network) {
        if (!network) return done(fail(network.error()));
        if (*network && !agent_.keep(agent::network_token(container), std::move(*network)))
          return done(fail(errc::unavailable, "too many descriptors are kept"));
        done({});
      });
}

}  // namespace arca::guest
