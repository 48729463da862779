// What actors/protocol/machine_calls.hpp has.
#include "actors/core/promise.hpp"
#include "actors/machine/machine.hpp"
#include "actors/streams/socket_stream.hpp"
#include "persistence/base/text.hpp"
#include "vm/relay/dial_target.hpp"

namespace arca {
namespace {
using namespace std::chrono_literals;
constexpr auto call_limit = 30'000ms;  ///< a mount waits for its device, a busy host for its processor
constexpr auto dial_limit = 40'000ms;  ///< longer than the agent waits for a connection
}  // namespace

caf::result<dialled_stream> machine::dial(const dial_machine& request) {
  auto promise = make_response_promise<dialled_stream>();
  auto where = vm::parse_dial_target(request.address);
  auto problem = where ? not_running() : std::optional(to_caf(where.error()));
  if (!problem && paused_) problem = caf_error(errc::conflict, "container " + id_ + " is paused");
  if (problem) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  where->container = request.container_id;
  const bool datagrams = where->to == vm::agent_tunnel::kind::udp;
  call_agent<unique_fd>([where = std::move(*where)](vm::agent_client& agent,
                                                    auto done) { agent.tunnel(where, dial_limit, std::move(done)); },
                        [this, promise, datagrams, address = request.address](result<unique_fd> socket) mutable {
                          if (!socket) {
                            promise.deliver(to_caf(socket.error().wrap(address)));
                            return;
                          }
                          dialled_stream answer;
                          answer.stream =
                              ctx_.streams->put(open_socket_stream(*ctx_.stdio, std::move(*socket), datagrams));
                          promise.deliver(std::move(answer));
                        });
  return promise;
}

caf::result<void> machine::publish(const publish_socket& request) {
  auto promise = make_response_promise<void>();
  auto problem = not_running();
  vm::agent_tunnel where;
  where.to = vm::agent_tunnel::kind::unix_socket;
  where.path = request.path;
  where.container = request.container_id;
  if (!problem && (where.path.empty() || where.path.front() != '/'))
    problem = caf_error(errc::invalid_argument, go_quote(where.path) + " is no absolute path of a socket");
  if (problem) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  // The socket is this actor's, and may outlive the machine for a moment.
  auto open = [weak = std::weak_ptr(box_), where](unique_fd connection, std::function<void()> over) {
    if (const auto box = weak.lock())
      box->agent().tunnel_from(std::move(connection), where, dial_limit, std::move(over));
    else
      over();
  };
  using published = std::shared_ptr<std::unique_ptr<vm::published_socket>>;
  offload(
      this, *ctx_.port, *ctx_.pool,
      [path = request.host_path, open = std::move(open)]() -> result<published> {
        ARCA_TRY(made, vm::published_socket::listen(path, open));
        return std::make_shared<std::unique_ptr<vm::published_socket>>(std::move(made));
      },
      [this, promise](result<published> made) mutable {
        if (!made) {
          promise.deliver(to_caf(made.error()));
          return;
        }
        if (auto over = not_running()) {
          promise.deliver(std::move(*over));
          return;
        }
        published_.push_back(std::move(**made));
        deliver_ok(promise);
      });
  return promise;
}

caf::result<void> machine::own_call(std::function<void(vm::agent_client&, vm::agent_client::callback<void>)> call) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  call_agent<void>(std::move(call), [promise](result<void> done) mutable {
    if (done)
      deliver_ok(promise);
    else
      promise.deliver(to_caf(done.error()));
  });
  return promise;
}

caf::result<void> machine::write_file(const write_machine_file& r) {
  vm::agent_file file{r.path, r.content, r.mode, r.container_id};
  return own_call([file = std::move(file)](auto& agent, auto done) { agent.write_file(file, call_limit, done); });
}
caf::result<void> machine::make_folder(const make_machine_folder& r) {
  return own_call([r](auto& agent, auto done) {
    agent.make_directory(r.container_id, r.path, r.mode, r.parents, call_limit, done);
  });
}
caf::result<void> machine::mount(const mount_in_machine& r) {
  vm::agent_mount what{r.type, r.source, r.target, r.options, {}};
  return own_call([what = std::move(what)](auto& agent, auto done) { agent.mount(what, call_limit, done); });
}
caf::result<void> machine::unmount(const unmount_in_machine& r) {
  return own_call([r](auto& agent, auto done) { agent.unmount(r.target, r.detach, call_limit, done); });
}
caf::result<void> machine::set_sysctls(const set_machine_sysctls& r) {
  return own_call([r](auto& agent, auto done) { agent.set_sysctls(r.sysctls, call_limit, done); });
}
caf::result<void> machine::set_time(const set_machine_time& r) {
  return own_call([r](auto& agent, auto done) { agent.set_time(r.now == 0 ? now_nanos() : r.now, call_limit, done); });
}
caf::result<void> machine::set_up_emulator(const set_up_machine_emulator& r) {
  vm::agent_emulator what{r.name, r.interpreter, r.magic, r.mask};
  return own_call([what = std::move(what)](auto& agent, auto done) { agent.set_up_emulator(what, call_limit, done); });
}
caf::result<void> machine::configure_interface(const configure_machine_interface& r) {
  vm::agent_interface nic{r.name, r.mac, r.gateway4, r.gateway6, r.addresses, r.mtu, {}};
  return own_call([nic = std::move(nic)](auto& agent, auto done) { agent.configure_interface(nic, call_limit, done); });
}
caf::result<void> machine::set_interface(const set_machine_interface& r) {
  return own_call([r](auto& agent, auto done) { agent.set_interface(r.name, r.up, call_limit, done); });
}
caf::result<void> machine::remove_interface(const remove_machine_interface& r) {
  return own_call([r](auto& agent, auto done) { agent.remove_interface(r.name, call_limit, done); });
}
caf::result<void> machine::change_route(const change_machine_route& r) {
  vm::agent_route what{r.destination, r.gateway, r.interface, r.remove};
  return own_call([what = std::move(what)](auto& agent, auto done) { agent.change_route(what, call_limit, done); });
}

}  // namespace arca
