// What every actor of one engine shares: settings, the pools and registries beside the mailboxes, the managers'
// handles. Made by the engine before the first actor and outlives the last.
#pragma once
#include <memory>

#include "actors/core/async_port.hpp"
#include "actors/core/image_names.hpp"
#include "actors/core/introspection.hpp"
#include "actors/protocol/container.hpp"
#include "actors/protocol/event_bus.hpp"
#include "actors/protocol/image.hpp"
#include "actors/protocol/machine.hpp"
#include "actors/protocol/network.hpp"
#include "actors/protocol/state_store.hpp"
#include "actors/protocol/volume.hpp"
#include "persistence/base/config.hpp"

namespace arca {

namespace vm {
class published_vm_status;
}
class stream_registry;
class stdio_service;
class process_io_registry;

struct engine_context {
  settings config;
  std::string boot_id;
  std::unique_ptr<async_port> port;
  std::unique_ptr<blocking_pool> pool;
  std::unique_ptr<introspection> actors;
  std::unique_ptr<stream_registry> streams;  ///< actors/streams
  std::unique_ptr<stdio_service> stdio;      ///< actors/streams: threads that move process bytes

  std::unique_ptr<process_io_registry> processes;  ///< actors/streams: whose bytes go where
  published_image_names image_names;               ///< written by image_manager alone
  std::shared_ptr<vm::published_vm_status> vms;    ///< vm/qemu/vm_status.hpp; what machine_manager last found

  // Set once by the root in the order of its tree, before any request is served.
  state_store_actor store;
  event_bus_actor events;
  image_manager_actor images;
  network_manager_actor networks;
  volume_manager_actor volumes;
  machine_manager_actor machines;
  container_manager_actor containers;

  engine_context();
  ~engine_context();
};

}  // namespace arca
