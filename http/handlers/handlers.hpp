// Every handler that the route table names, by file.
#pragma once
#include "http/exchange.hpp"

namespace arca::http {

#define ARCA_HANDLER(name) awaitable<response> name(call& c)

// system.cpp
ARCA_HANDLER(ping);
ARCA_HANDLER(version);
ARCA_HANDLER(info);
ARCA_HANDLER(events);
ARCA_HANDLER(disk_usage);
ARCA_HANDLER(actors);
ARCA_HANDLER(session);
ARCA_HANDLER(grpc);

// machines.cpp
ARCA_HANDLER(machine_list);
ARCA_HANDLER(machine_show);
ARCA_HANDLER(machine_log);
ARCA_HANDLER(machine_dial);

// login.cpp
ARCA_HANDLER(auth);

// container_views.cpp
ARCA_HANDLER(container_list);
ARCA_HANDLER(container_inspect);
ARCA_HANDLER(container_top);
ARCA_HANDLER(container_stats);

// containers.cpp
ARCA_HANDLER(container_create);
ARCA_HANDLER(container_start);
ARCA_HANDLER(container_stop);
ARCA_HANDLER(container_restart);
ARCA_HANDLER(container_kill);
ARCA_HANDLER(container_pause);
ARCA_HANDLER(container_unpause);
ARCA_HANDLER(container_resize);
ARCA_HANDLER(container_rename);
ARCA_HANDLER(container_update);
ARCA_HANDLER(container_remove);
ARCA_HANDLER(container_prune);

// container_streams.cpp
ARCA_HANDLER(container_wait);
ARCA_HANDLER(container_logs);
ARCA_HANDLER(container_attach);

// exec.cpp
ARCA_HANDLER(exec_create);
ARCA_HANDLER(exec_start);
ARCA_HANDLER(exec_resize);
ARCA_HANDLER(exec_inspect);

// images.cpp
ARCA_HANDLER(image_list);
ARCA_HANDLER(image_inspect);
ARCA_HANDLER(image_history);
ARCA_HANDLER(image_tag);
ARCA_HANDLER(image_remove);
ARCA_HANDLER(image_prune);

// image_streams.cpp
ARCA_HANDLER(image_create);
ARCA_HANDLER(image_load);
ARCA_HANDLER(image_save);

// networks.cpp
ARCA_HANDLER(network_list);
ARCA_HANDLER(network_inspect);
ARCA_HANDLER(network_create);
ARCA_HANDLER(network_remove);
ARCA_HANDLER(network_connect);
ARCA_HANDLER(network_disconnect);
ARCA_HANDLER(network_prune);

// volumes.cpp
ARCA_HANDLER(volume_list);
ARCA_HANDLER(volume_inspect);
ARCA_HANDLER(volume_create);
ARCA_HANDLER(volume_remove);
ARCA_HANDLER(volume_prune);
ARCA_HANDLER(volume_update);

// unsupported.cpp
ARCA_HANDLER(no_swarm_manager);
ARCA_HANDLER(no_swarm);
ARCA_HANDLER(swarm_unsupported);
ARCA_HANDLER(plugin_list);
ARCA_HANDLER(plugin_unknown);
ARCA_HANDLER(plugins_unsupported);
ARCA_HANDLER(checkpoints_unsupported);
ARCA_HANDLER(build_unsupported);
ARCA_HANDLER(commit_unsupported);
ARCA_HANDLER(archive_unsupported);
ARCA_HANDLER(changes_unsupported);
ARCA_HANDLER(export_unsupported);
ARCA_HANDLER(websocket_unsupported);
ARCA_HANDLER(search_unsupported);
ARCA_HANDLER(push_unsupported);
ARCA_HANDLER(distribution_unsupported);

#undef ARCA_HANDLER

}  // namespace arca::http
