// What an embedder may ask of the machine that a container runs in, beyond what Docker's API has. The handle is that of
// the machine actor (find_machine); all answer errc::conflict in Docker's words when the container does not run. Those
// of "the machine's own" kernel are refused with errc::conflict where the machine shares the host's.
#pragma once
#include "actors/protocol/message.hpp"

namespace arca {

/// The reply of dial_machine: bytes from and to the address, in the stream registry. It ends with what comes from
/// inside; the end of the input is passed on.
struct dialled_stream {
  stream_id stream = 0;
  ARCA_MESSAGE(dialled_stream, stream)
};
/// "tcp:HOST:PORT", "udp:HOST:PORT" in the container's network, "unix:PATH" below its root. errc::conflict with the
/// kernel's word when there is no connection.
struct dial_machine {
  std::string container_id, address;
  ARCA_MESSAGE(dial_machine, container_id, address)
};
/// Listens at host_path (absolute, mode 0600) and connects whoever comes to `path` below the container's root. As long
/// as the machine runs and this engine with it.
struct publish_socket {
  std::string container_id, path, host_path;
  ARCA_MESSAGE(publish_socket, container_id, path, host_path)
};

// ---- the machine's own
struct write_machine_file {
  std::string path, content;  ///< at most 1 MiB; an existing file is replaced
  uint32_t mode = 0644;
  std::string container_id;  ///< below its root; empty: the machine's
  ARCA_MESSAGE(write_machine_file, path, content, mode, container_id)
};
struct make_machine_folder {
  std::string path;
  uint32_t mode = 0755;
  bool parents = false;
  std::string container_id;  ///< as above
  ARCA_MESSAGE(make_machine_folder, path, mode, parents, container_id)
};
struct mount_in_machine {
  std::string type, source, target;
  std::string options;  ///< as of mount(8)
  ARCA_MESSAGE(mount_in_machine, type, source, target, options)
};
struct unmount_in_machine {
  std::string target;
  bool detach = false;
  ARCA_MESSAGE(unmount_in_machine, target, detach)
};
struct set_machine_sysctls {
  std::map<std::string, std::string> sysctls;
  ARCA_MESSAGE(set_machine_sysctls, sysctls)
};
struct set_machine_time {
  int64_t now = 0;  ///< unix nanoseconds; 0: the host's
  ARCA_MESSAGE(set_machine_time, now)
};
struct set_up_machine_emulator {  ///< binfmt_misc
  std::string name;
  std::string interpreter;  ///< path in the machine
  std::string magic, mask;
  ARCA_MESSAGE(set_up_machine_emulator, name, interpreter, magic, mask)
};

// ---- its network; refused where that is the host's
struct configure_machine_interface {
  std::string name, mac, gateway4, gateway6;  ///< mac selects a device, which is renamed
  std::vector<std::string> addresses;         ///< "10.1.0.2/16"
  uint32_t mtu = 0;                           ///< 0: as it is
  ARCA_MESSAGE(configure_machine_interface, name, mac, gateway4, gateway6, addresses, mtu)
};
struct set_machine_interface {
  std::string name;
  bool up = true;
  ARCA_MESSAGE(set_machine_interface, name, up)
};
struct remove_machine_interface {
  std::string name;
  ARCA_MESSAGE(remove_machine_interface, name)
};
struct change_machine_route {
  std::string destination;         ///< "10.1.0.0/16"; "0.0.0.0/0": the default route
  std::string gateway, interface;  ///< at least one
  bool remove = false;
  ARCA_MESSAGE(change_machine_route, destination, gateway, interface, remove)
};

}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_machine_calls, caf::first_custom_type_id + 250)
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::dialled_stream))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::dial_machine))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::publish_socket))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::write_machine_file))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::make_machine_folder))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::mount_in_machine))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::unmount_in_machine))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::set_machine_sysctls))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::set_machine_time))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::set_up_machine_emulator))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::configure_machine_interface))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::set_machine_interface))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::remove_machine_interface))
CAF_ADD_TYPE_ID(arca_machine_calls, (arca::change_machine_route))
CAF_END_TYPE_ID_BLOCK(arca_machine_calls)
