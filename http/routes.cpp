// Docker's API on one screen: method, path, handler, deadline of what is asked inside (none: as long as it takes).
#include "http/routes.hpp"

#include <array>

#include "http/handlers/handlers.hpp"

using namespace std::chrono_literals;

namespace arca::http {
namespace {
constexpr auto none = 0s, quick = 10s, change = 300s;

// clang-format off
constexpr std::array table{
    route{"GET",    "/_ping",                      ping,                quick},
    route{"HEAD",   "/_ping",                      ping,                quick},
    route{"GET",    "/version",                    version,             quick},
    route{"GET",    "/info",                       info,                quick},
    route{"POST",   "/auth",                       auth,                quick},
    route{"GET",    "/events",                     events,              quick},
    route{"GET",    "/system/df",                  disk_usage,          change},
    route{"GET",    "/arca/actors",                actors,              none},
    route{"GET",    "/arca/machines",              machine_list,        none},
    route{"GET",    "/arca/machines/{name}/log",   machine_log,         quick},
    route{"POST",   "/arca/machines/{name}/dial",  machine_dial,        change},
    route{"GET",    "/arca/machines/{name}",       machine_show,        quick},

    route{"GET",    "/containers/json",            container_list,      change},
    route{"POST",   "/containers/create",          container_create,    change},
    route{"POST",   "/containers/prune",           container_prune,     none},
    route{"GET",    "/containers/{name}/json",     container_inspect,   change},
    route{"GET",    "/containers/{name}/top",      container_top,       quick},
    route{"GET",    "/containers/{name}/logs",     container_logs,      quick},
    route{"GET",    "/containers/{name}/stats",    container_stats,     quick},
    route{"POST",   "/containers/{name}/start",    container_start,     change},
    route{"POST",   "/containers/{name}/stop",     container_stop,      none},
    route{"POST",   "/containers/{name}/restart",  container_restart,   none},
    route{"POST",   "/containers/{name}/kill",     container_kill,      change},
    route{"POST",   "/containers/{name}/pause",    container_pause,     change},
    route{"POST",   "/containers/{name}/unpause",  container_unpause,   change},
    route{"POST",   "/containers/{name}/wait",     container_wait,      none},
    route{"POST",   "/containers/{name}/attach",   container_attach,    quick},
    route{"GET",    "/containers/{name}/attach/ws", websocket_unsupported, quick},
    route{"POST",   "/containers/{name}/resize",   container_resize,    quick},
    route{"POST",   "/containers/{name}/rename",   container_rename,    change},
    route{"POST",   "/containers/{name}/update",   container_update,    change},
    route{"POST",   "/containers/{name}/exec",     exec_create,         change},
    route{"GET",    "/containers/{name}/changes",  changes_unsupported, quick},
    route{"GET",    "/containers/{name}/export",   export_unsupported,  quick},
    route{"GET",    "/containers/{name}/archive",  archive_unsupported, quick},
    route{"HEAD",   "/containers/{name}/archive",  archive_unsupported, quick},
    route{"PUT",    "/containers/{name}/archive",  archive_unsupported, quick},
    route{"GET",    "/containers/{name}/checkpoints",  checkpoints_unsupported, quick},
    route{"POST",   "/containers/{name}/checkpoints",  checkpoints_unsupported, quick},
    route{"DELETE", "/containers/{name}",          container_remove,    change},
    route{"POST",   "/exec/{name}/start",          exec_start,          change},
    route{"POST",   "/exec/{name}/resize",         exec_resize,         quick},
    route{"GET",    "/exec/{name}/json",           exec_inspect,        quick},

    route{"GET",    "/images/json",                image_list,          change},
    route{"POST",   "/images/create",              image_create,        none},
    route{"POST",   "/images/load",                image_load,          none},
    route{"GET",    "/images/get",                 image_save,          change},
    route{"POST",   "/images/prune",               image_prune,         none},
    route{"GET",    "/images/search",              search_unsupported,  quick},
    route{"GET",    "/images/{name}/json",         image_inspect,       quick},
    route{"GET",    "/images/{name}/history",      image_history,       quick},
    route{"GET",    "/images/{name}/get",          image_save,          change},
    route{"POST",   "/images/{name}/tag",          image_tag,           quick},
    route{"POST",   "/images/{name}/push",         push_unsupported,    quick},
    route{"DELETE", "/images/{name}",              image_remove,        change},
    route{"GET",    "/distribution/{name}/json",   distribution_unsupported, quick},

    route{"GET",    "/networks",                   network_list,        quick},
    route{"GET",    "/networks/",                  network_list,        quick},
    route{"POST",   "/networks/create",            network_create,      change},
    route{"POST",   "/networks/prune",             network_prune,       change},
    route{"POST",   "/networks/{name}/connect",    network_connect,     change},
    route{"POST",   "/networks/{name}/disconnect", network_disconnect,  change},
    route{"GET",    "/networks/{name}",            network_inspect,     quick},
    route{"DELETE", "/networks/{name}",            network_remove,      change},

    route{"GET",    "/volumes",                    volume_list,         change},
    route{"POST",   "/volumes/create",             volume_create,       change},
    route{"POST",   "/volumes/prune",              volume_prune,        none},
    route{"GET",    "/volumes/{name}",             volume_inspect,      change},
    route{"PUT",    "/volumes/{name}",             volume_update,       quick},
    route{"DELETE", "/volumes/{name}",             volume_remove,       change},

    route{"POST",   "/build",                      build_unsupported,   quick},
    route{"POST",   "/build/prune",                build_unsupported,   quick},
    route{"POST",   "/build/cancel",               build_unsupported,   quick},
    route{"POST",   "/commit",                     commit_unsupported,  quick},
    route{"POST",   "/session",                    session,             quick},
    route{"POST",   "/grpc",                       grpc,                quick},

    route{"GET",    "/plugins",                    plugin_list,         quick},
    route{"GET",    "/plugins/privileges",         plugins_unsupported, quick},
    route{"POST",   "/plugins/pull",               plugins_unsupported, quick},
    route{"POST",   "/plugins/create",             plugins_unsupported, quick},
    route{"GET",    "/plugins/{name}/json",        plugin_unknown,      quick},
    route{"POST",   "/plugins/{name}/enable",      plugin_unknown,      quick},
    route{"POST",   "/plugins/{name}/disable",     plugin_unknown,      quick},
    route{"POST",   "/plugins/{name}/push",        plugin_unknown,      quick},
    route{"POST",   "/plugins/{name}/upgrade",     plugin_unknown,      quick},
    route{"POST",   "/plugins/{name}/set",         plugin_unknown,      quick},
    route{"DELETE", "/plugins/{name}",             plugin_unknown,      quick},

    route{"POST",   "/swarm/init",                 swarm_unsupported,   quick},
    route{"POST",   "/swarm/join",                 swarm_unsupported,   quick},
    route{"POST",   "/swarm/leave",                no_swarm,            quick},
    route{"GET",    "/swarm",                      no_swarm_manager,    quick},
    route{"GET",    "/swarm/{name}",               no_swarm_manager,    quick},
    route{"POST",   "/swarm/{name}",               no_swarm_manager,    quick},
    route{"GET",    "/services",                   no_swarm_manager,    quick},
    route{"GET",    "/services/{name}",            no_swarm_manager,    quick},
    route{"POST",   "/services/{name}",            no_swarm_manager,    quick},
    route{"DELETE", "/services/{name}",            no_swarm_manager,    quick},
    route{"GET",    "/tasks",                      no_swarm_manager,    quick},
    route{"GET",    "/tasks/{name}",               no_swarm_manager,    quick},
    route{"GET",    "/nodes",                      no_swarm_manager,    quick},
    route{"GET",    "/nodes/{name}",               no_swarm_manager,    quick},
    route{"POST",   "/nodes/{name}",               no_swarm_manager,    quick},
    route{"DELETE", "/nodes/{name}",               no_swarm_manager,    quick},
    route{"GET",    "/secrets",                    no_swarm_manager,    quick},
    route{"GET",    "/secrets/{name}",             no_swarm_manager,    quick},
    route{"POST",   "/secrets/{name}",             no_swarm_manager,    quick},
    route{"DELETE", "/secrets/{name}",             no_swarm_manager,    quick},
    route{"GET",    "/configs",                    no_swarm_manager,    quick},
    route{"GET",    "/configs/{name}",             no_swarm_manager,    quick},
    route{"POST",   "/configs/{name}",             no_swarm_manager,    quick},
    route{"DELETE", "/configs/{name}",             no_swarm_manager,    quick},
};
// clang-format on
}  // namespace

std::span<const route> all_routes() {
  return table;
}

}  // namespace arca::http
