// The calls of agent_client that are about the machine itself: its network, file systems and kernel.
#include <sys/socket.h>

#include <array>

#include "vm/agent_calls.hpp"
#include "vm/agent_client.hpp"

namespace arca::vm {
using namespace calls;
namespace {
// A whole message goes into the socket at once, so that the next is asked for while its reader is at this one.
constexpr int stdio_buffer = 512 << 10;
}  // namespace

void agent_client::configure_interface(const agent_interface& nic, milliseconds limit, callback<void> done) {
  proto::ConfigureInterfaceRequest request;
  auto* into = request.mutable_interface();
  into->set_name(nic.name);
  into->set_mac(nic.mac);
  for (const auto& address : nic.addresses) into->add_addresses(address);
  into->set_gateway4(nic.gateway4);
  into->set_gateway6(nic.gateway6);
  into->set_mtu(nic.mtu);
  request.set_container_id(nic.container);
  start<proto::ConfigureInterfaceRequest, proto::Empty>(state_, &proto::Agent::Stub::async::ConfigureInterface,
                                                        std::move(request), limit, no_value(std::move(done)));
}

void agent_client::remove_interface(const std::string& name, milliseconds limit, callback<void> done) {
  proto::RemoveInterfaceRequest request;
  request.set_name(name);
  start<proto::RemoveInterfaceRequest, proto::Empty>(state_, &proto::Agent::Stub::async::RemoveInterface,
                                                     std::move(request), limit, no_value(std::move(done)));
}

void agent_client::set_interface(const std::string& name, bool up, milliseconds limit, callback<void> done) {
  proto::SetInterfaceRequest request;
  request.set_name(name);
  request.set_up(up);
  start<proto::SetInterfaceRequest, proto::Empty>(state_, &proto::Agent::Stub::async::SetInterface, std::move(request),
                                                  limit, no_value(std::move(done)));
}

void agent_client::change_route(const agent_route& what, milliseconds limit, callback<void> done) {
  proto::ChangeRouteRequest request;
  request.set_destination(what.destination);
  request.set_gateway(what.gateway);
  request.set_interface(what.interface);
  request.set_remove(what.remove);
  start<proto::ChangeRouteRequest, proto::Empty>(state_, &proto::Agent::Stub::async::ChangeRoute, std::move(request),
                                                 limit, no_value(std::move(done)));
}

void agent_client::mount(const agent_mount& what, milliseconds limit, callback<void> done) {
  proto::MountRequest request;
  request.set_type(what.type);
  request.set_source(what.source);
  request.set_target(what.target);
  request.set_options(what.options);
  request.set_token(what.token);
  start<proto::MountRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Mount, std::move(request), limit,
                                           no_value(std::move(done)));
}

void agent_client::unmount(const std::string& target, bool detach, milliseconds limit, callback<void> done) {
  proto::UnmountRequest request;
  request.set_target(target);
  request.set_detach(detach);
  start<proto::UnmountRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Unmount, std::move(request), limit,
                                             no_value(std::move(done)));
}

void agent_client::write_file(const agent_file& what, milliseconds limit, callback<void> done) {
  proto::WriteFileRequest request;
  request.set_path(what.path);
  request.set_content(what.content);
  request.set_mode(what.mode);
  request.set_container_id(what.container);
  start<proto::WriteFileRequest, proto::Empty>(state_, &proto::Agent::Stub::async::WriteFile, std::move(request), limit,
                                               no_value(std::move(done)));
}

void agent_client::make_directory(const std::string& container, const std::string& path, uint32_t mode, bool parents,
                                  milliseconds limit, callback<void> done) {
  proto::MakeDirectoryRequest request;
  request.set_container_id(container);
  request.set_path(path);
  request.set_mode(mode);
  request.set_parents(parents);
  start<proto::MakeDirectoryRequest, proto::Empty>(state_, &proto::Agent::Stub::async::MakeDirectory,
                                                   std::move(request), limit, no_value(std::move(done)));
}

void agent_client::set_sysctls(const std::map<std::string, std::string>& sysctls, milliseconds limit,
                               callback<void> done) {
  proto::SetSysctlsRequest request;
  for (const auto& [name, value] : sysctls) (*request.mutable_sysctls())[name] = value;
  start<proto::SetSysctlsRequest, proto::Empty>(state_, &proto::Agent::Stub::async::SetSysctls, std::move(request),
                                                limit, no_value(std::move(done)));
}

void agent_client::set_time(int64_t now, milliseconds limit, callback<void> done) {
  proto::SetTimeRequest request;
  request.set_now(now);
  start<proto::SetTimeRequest, proto::Empty>(state_, &proto::Agent::Stub::async::SetTime, std::move(request), limit,
                                             no_value(std::move(done)));
}

void agent_client::set_up_emulator(const agent_emulator& what, milliseconds limit, callback<void> done) {
  proto::SetUpEmulatorRequest request;
  request.set_name(what.name);
  request.set_interpreter(what.interpreter);
  request.set_magic(what.magic);
  request.set_mask(what.mask);
  start<proto::SetUpEmulatorRequest, proto::Empty>(state_, &proto::Agent::Stub::async::SetUpEmulator,
                                                   std::move(request), limit, no_value(std::move(done)));
}

void agent_client::make_relay(const agent_relay& what, milliseconds limit, callback<void> done) {
  proto::MakeRelayRequest request;
  request.set_name(what.name);
  request.set_token(what.token);
  request.set_uid(what.uid);
  request.set_gid(what.gid);
  request.set_mode(what.mode);
  start<proto::MakeRelayRequest, proto::Empty>(state_, &proto::Agent::Stub::async::MakeRelay, std::move(request), limit,
                                               no_value(std::move(done)));
}

void agent_client::refuse_relayed(uint64_t connection, milliseconds limit, callback<void> done) {
  proto::ConnectionRef request;
  request.set_id(connection);
  start<proto::ConnectionRef, proto::Empty>(state_, &proto::Agent::Stub::async::RefuseConnection, std::move(request),
                                            limit, no_value(std::move(done)));
}

void agent_client::follow_relays(std::function<void(agent_relayed)> on_connection) {
  auto made = reader<proto::Empty, proto::RelayedConnection>::make(
      [on_connection = std::move(on_connection)](const proto::RelayedConnection& each) {
        on_connection({each.id(), each.relay(), each.uid(), each.gid()});
      },
      [](const error&) { /* with the agent, whose end is watched */ });
  {
    const std::lock_guard guard(state_->lock);
    state_->relayed = made;
  }
  made->start(*state_->stub, &proto::Agent::Stub::async::RelayedConnections);
}

namespace {
proto::TunnelTarget target_of(const agent_tunnel& where) {
  proto::TunnelTarget target;
  target.set_container_id(where.container);
  switch (where.to) {
    case agent_tunnel::kind::tcp:
      target.mutable_tcp()->set_host(where.host);
      target.mutable_tcp()->set_port(where.port);
      break;
    case agent_tunnel::kind::udp:
      target.mutable_udp()->set_host(where.host);
      target.mutable_udp()->set_port(where.port);
      break;
    case agent_tunnel::kind::unix_socket:
      target.set_unix_path(where.path);
      break;
    case agent_tunnel::kind::relayed:
      target.set_relayed(where.connection);
      break;
  }
  return target;
}
}  // namespace

void agent_client::open_tunnel(std::shared_ptr<tunnel_stream> made, const agent_tunnel& where, milliseconds limit) {
  {
    const std::lock_guard guard(state_->lock);
    state_->tunnels.push_back(made.get());
  }
  // The state stays until the tunnel has gone; the client may go before.
  made->start(*state_->stub, target_of(where), limit, [state = state_](tunnel_stream* it) {
    const std::lock_guard guard(state->lock);
    std::erase(state->tunnels, it);
  });
}

void agent_client::tunnel(const agent_tunnel& where, milliseconds limit, callback<unique_fd> done) {
  open_tunnel(std::make_shared<tunnel_stream>(std::move(done)), where, limit);
}

void agent_client::tunnel_from(unique_fd socket, const agent_tunnel& where, milliseconds limit,
                               std::function<void()> over) {
  open_tunnel(std::make_shared<tunnel_stream>(std::move(socket), std::move(over)), where, limit);
}

result<std::shared_ptr<stdio_stream>> agent_client::make_stdio(const std::shared_ptr<state>& of, unique_fd& theirs,
                                                               bool for_exec) {
  std::array<int, 2> ends{-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return fail_errno("socket pair");
  unique_fd ours(ends[0]);
  theirs.reset(ends[1]);
  setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &stdio_buffer, sizeof stdio_buffer);
  auto made = std::make_shared<stdio_stream>(std::move(ours), [of, for_exec](stdio_stream* it) {
    std::shared_ptr<stdio_stream> unused;
    {
      const std::lock_guard guard(of->lock);
      std::erase(of->stdios, it);
      if (of->spare.get() == it) unused = std::move(of->spare);
    }
    if (for_exec && !unused) open_spare(of);
  });
  const std::lock_guard guard(of->lock);
  if (of->closing) return fail(errc::cancelled, "the machine is being closed");
  of->stdios.push_back(made.get());
  return made;
}

// A call of its own for each exec, made when the one before is over: what a new call costs the agent is then not waited
// for.
void agent_client::open_spare(const std::shared_ptr<state>& of) {
  {
    const std::lock_guard guard(of->lock);
    if (of->closing || of->spare) return;
  }
  unique_fd theirs;
  auto made = make_stdio(of, theirs, true);
  if (!made) return;
  (*made)->open(of->raw);
  const std::lock_guard guard(of->lock);
  of->spare = std::move(*made);
  of->spare_socket = std::move(theirs);
}

std::shared_ptr<stdio_stream> agent_client::take_spare(unique_fd& theirs) {
  const std::lock_guard guard(state_->lock);
  theirs = std::move(state_->spare_socket);
  return std::exchange(state_->spare, nullptr);
}

result<unique_fd> agent_client::stdio(const stdio::hello& hello) {
  unique_fd theirs;
  ARCA_TRY(stream, make_stdio(state_, theirs, false));
  stream->start(state_->raw, hello);
  return theirs;
}

}  // namespace arca::vm
