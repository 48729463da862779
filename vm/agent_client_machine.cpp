// The calls of agent_client that are about the machine itself: its network, file systems and kernel.
#include "vm/agent_calls.hpp"
#include "vm/agent_client.hpp"

namespace arca::vm {
using namespace calls;

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

void agent_client::tunnel(const agent_tunnel& where, milliseconds limit, callback<unique_fd> done) {
  proto::TunnelTarget target;
  target.set_container_id(where.container);
  switch (where.to) {
    case agent_tunnel::kind::stdio:
      target.set_stdio(true);
      break;
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
  }
  // The state stays until the tunnel has gone; the client may go before.
  const auto made = std::make_shared<tunnel_stream>(std::move(done), [state = state_](tunnel_stream* it) {
    const std::lock_guard guard(state->lock);
    std::erase(state->tunnels, it);
  });
  {
    const std::lock_guard guard(state_->lock);
    state_->tunnels.push_back(made.get());
  }
  made->start(*state_->stub, std::move(target), limit);
}

}  // namespace arca::vm
