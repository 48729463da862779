#include "actors/model/go_schema.hpp"

#include <algorithm>
#include <string>

namespace arca::model::go {
namespace {

constexpr schema strings(const char* go_name) {
  return {.kind = kind::string, .go_name = go_name};
}
constexpr schema object(const char* go_name, std::span<const field> fields) {
  return {.kind = kind::object, .go_name = go_name, .fields = fields};
}
constexpr schema pointer(const schema& to) {
  return {.kind = kind::pointer, .go_name = to.go_name, .element = &to};
}
constexpr schema slice(const char* go_name, const schema& of) {
  return {.kind = kind::slice, .go_name = go_name, .element = &of};
}
constexpr schema map(const char* go_name, const schema& of) {
  return {.kind = kind::map, .go_name = go_name, .element = &of};
}
constexpr schema integer(const char* go_name, uint8_t bits, bool is_signed) {
  return {.kind = kind::integer, .go_name = go_name, .bits = bits, .is_signed = is_signed};
}

constexpr bool omit = true;

}  // namespace

constexpr schema string_type = strings("string");
constexpr schema bool_type = {.kind = kind::boolean, .go_name = "bool"};
constexpr schema int_type = integer("int", 64, true);
constexpr schema int64_type = integer("int64", 64, true);
constexpr schema float_type = {.kind = kind::floating, .go_name = "float64"};
constexpr schema string_slice = slice("[]string", string_type);
constexpr schema string_map = map("map[string]string", string_type);

namespace {
constexpr schema uint_type = integer("uint", 64, false);
constexpr schema uint16_type = integer("uint16", 16, false);
constexpr schema uint64_type = integer("uint64", 64, false);
constexpr schema file_mode = integer("fs.FileMode", 32, false);
constexpr schema duration = integer("time.Duration", 64, true);
constexpr schema bool_map = map("map[string]bool", bool_type);
constexpr schema string_slices = slice("[][]string", string_slice);
constexpr schema raw_type = {.kind = kind::raw, .go_name = "interface {}"};
constexpr schema empty_struct = object("struct {}", {});
constexpr schema string_set = map("map[string]struct {}", empty_struct);
constexpr schema string_list_type = {.kind = kind::string_list, .go_name = "strslice.StrSlice"};
constexpr schema bool_pointer = pointer(bool_type);
constexpr schema int_pointer = pointer(int_type);
constexpr schema int64_pointer = pointer(int64_type);
constexpr schema console_size = {.kind = kind::array, .go_name = "[2]uint", .element = &uint_type, .length = 2};
constexpr schema console_size_pointer = pointer(console_size);
}  // namespace

constexpr schema bool_map_map = map("map[string]map[string]bool", bool_map);
constexpr schema string_slice_map = map("map[string][]string", string_slice);

// container.Config
namespace {
constexpr field health_fields[] = {{"Test", &string_slice, omit},      {"Interval", &duration, omit},
                                   {"Timeout", &duration, omit},       {"StartPeriod", &duration, omit},
                                   {"StartInterval", &duration, omit}, {"Retries", &int_type, omit}};
}
constexpr schema health_config = object("container.HealthConfig", health_fields);

namespace {
constexpr schema health_pointer = pointer(health_config);
constexpr schema port_set = map("nat.PortSet", empty_struct);
#define ARCA_CONFIG_FIELDS                                                                                          \
  {"Hostname", &string_type}, {"Domainname", &string_type}, {"User", &string_type}, {"AttachStdin", &bool_type},    \
      {"AttachStdout", &bool_type}, {"AttachStderr", &bool_type}, {"ExposedPorts", &port_set, omit},                \
      {"Tty", &bool_type}, {"OpenStdin", &bool_type}, {"StdinOnce", &bool_type}, {"Env", &string_slice},            \
      {"Cmd", &string_list_type}, {"Healthcheck", &health_pointer, omit}, {"ArgsEscaped", &bool_type, omit},        \
      {"Image", &string_type}, {"Volumes", &string_set}, {"WorkingDir", &string_type},                              \
      {"Entrypoint", &string_list_type}, {"NetworkDisabled", &bool_type, omit}, {"MacAddress", &string_type, omit}, \
      {"OnBuild", &string_slice}, {"Labels", &string_map}, {"StopSignal", &string_type, omit},                      \
      {"StopTimeout", &int_pointer, omit}, {                                                                        \
    "Shell", &string_list_type, omit                                                                                \
  }
constexpr field config_fields[] = {ARCA_CONFIG_FIELDS};
}  // namespace
constexpr schema container_config = object("container.Config", config_fields);

// container.HostConfig
namespace {
constexpr field log_fields[] = {{"Type", &string_type}, {"Config", &string_map}};
constexpr schema log_config = object("container.LogConfig", log_fields);
constexpr schema restart_mode = strings("container.RestartPolicyMode");
constexpr field restart_fields[] = {{"Name", &restart_mode}, {"MaximumRetryCount", &int_type}};
constexpr schema restart_policy = object("container.RestartPolicy", restart_fields);
constexpr field binding_fields[] = {{"HostIp", &string_type}, {"HostPort", &string_type}};
constexpr schema port_binding = object("nat.PortBinding", binding_fields);
constexpr schema port_bindings = slice("[]nat.PortBinding", port_binding);
constexpr schema port_map = map("nat.PortMap", port_bindings);

constexpr schema network_mode = strings("container.NetworkMode"), cgroupns_mode = strings("container.CgroupnsMode"),
                 ipc_mode = strings("container.IpcMode"), cgroup_spec = strings("container.CgroupSpec"),
                 pid_mode = strings("container.PidMode"), uts_mode = strings("container.UTSMode"),
                 userns_mode = strings("container.UsernsMode"), isolation_mode = strings("container.Isolation");

constexpr field weight_fields[] = {{"Path", &string_type}, {"Weight", &uint16_type}};
constexpr schema weight_device = object("blkiodev.WeightDevice", weight_fields);
constexpr schema weight_pointer = pointer(weight_device);
constexpr schema weight_devices = slice("[]*blkiodev.WeightDevice", weight_pointer);
constexpr field throttle_fields[] = {{"Path", &string_type}, {"Rate", &uint64_type}};
constexpr schema throttle_device = object("blkiodev.ThrottleDevice", throttle_fields);
constexpr schema throttle_pointer = pointer(throttle_device);
constexpr schema throttle_devices = slice("[]*blkiodev.ThrottleDevice", throttle_pointer);
constexpr field device_fields[] = {
    {"PathOnHost", &string_type}, {"PathInContainer", &string_type}, {"CgroupPermissions", &string_type}};
constexpr schema device_mapping = object("container.DeviceMapping", device_fields);
constexpr schema device_mappings = slice("[]container.DeviceMapping", device_mapping);
constexpr field request_fields[] = {{"Driver", &string_type},
                                    {"Count", &int_type},
                                    {"DeviceIDs", &string_slice},
                                    {"Capabilities", &string_slices},
                                    {"Options", &string_map}};
constexpr schema device_request = object("container.DeviceRequest", request_fields);
constexpr schema device_requests = slice("[]container.DeviceRequest", device_request);
constexpr field ulimit_fields[] = {{"Name", &string_type}, {"Hard", &int64_type}, {"Soft", &int64_type}};
constexpr schema ulimit = object("units.Ulimit", ulimit_fields);
constexpr schema ulimit_pointer = pointer(ulimit);
constexpr schema ulimits = slice("[]*units.Ulimit", ulimit_pointer);

#define ARCA_RESOURCE_FIELDS                                                                                           \
  {"CpuShares", &int64_type}, {"Memory", &int64_type}, {"NanoCpus", &int64_type}, {"CgroupParent", &string_type},      \
      {"BlkioWeight", &uint16_type}, {"BlkioWeightDevice", &weight_devices},                                           \
      {"BlkioDeviceReadBps", &throttle_devices}, {"BlkioDeviceWriteBps", &throttle_devices},                           \
      {"BlkioDeviceReadIOps", &throttle_devices}, {"BlkioDeviceWriteIOps", &throttle_devices},                         \
      {"CpuPeriod", &int64_type}, {"CpuQuota", &int64_type}, {"CpuRealtimePeriod", &int64_type},                       \
      {"CpuRealtimeRuntime", &int64_type}, {"CpusetCpus", &string_type}, {"CpusetMems", &string_type},                 \
      {"Devices", &device_mappings}, {"DeviceCgroupRules", &string_slice}, {"DeviceRequests", &device_requests},       \
      {"KernelMemory", &int64_type, omit}, {"KernelMemoryTCP", &int64_type, omit}, {"MemoryReservation", &int64_type}, \
      {"MemorySwap", &int64_type}, {"MemorySwappiness", &int64_pointer}, {"OomKillDisable", &bool_pointer},            \
      {"PidsLimit", &int64_pointer}, {"Ulimits", &ulimits}, {"CpuCount", &int64_type}, {"CpuPercent", &int64_type},    \
      {"IOMaximumIOps", &uint64_type}, {                                                                               \
    "IOMaximumBandwidth", &uint64_type                                                                                 \
  }
constexpr field resource_fields[] = {ARCA_RESOURCE_FIELDS};

constexpr schema mount_type = strings("mount.Type"), propagation = strings("mount.Propagation"),
                 consistency = strings("mount.Consistency");
constexpr field bind_fields[] = {{"Propagation", &propagation, omit},
                                 {"NonRecursive", &bool_type, omit},
                                 {"CreateMountpoint", &bool_type, omit},
                                 {"ReadOnlyNonRecursive", &bool_type, omit},
                                 {"ReadOnlyForceRecursive", &bool_type, omit}};
constexpr schema bind_options = object("mount.BindOptions", bind_fields);
constexpr schema bind_pointer = pointer(bind_options);
constexpr field driver_fields[] = {{"Name", &string_type, omit}, {"Options", &string_map, omit}};
constexpr schema mount_driver = object("mount.Driver", driver_fields);
constexpr schema driver_pointer = pointer(mount_driver);
constexpr field volume_fields[] = {{"NoCopy", &bool_type, omit},
                                   {"Labels", &string_map, omit},
                                   {"Subpath", &string_type, omit},
                                   {"DriverConfig", &driver_pointer, omit}};
constexpr schema volume_options = object("mount.VolumeOptions", volume_fields);
constexpr schema volume_pointer = pointer(volume_options);
constexpr field image_fields[] = {{"Subpath", &string_type, omit}};
constexpr schema image_options = object("mount.ImageOptions", image_fields);
constexpr schema image_pointer = pointer(image_options);
constexpr field tmpfs_fields[] = {
    {"SizeBytes", &int64_type, omit}, {"Mode", &file_mode, omit}, {"Options", &string_slices, omit}};
constexpr schema tmpfs_options = object("mount.TmpfsOptions", tmpfs_fields);
constexpr schema tmpfs_pointer = pointer(tmpfs_options);
constexpr schema cluster_options = object("mount.ClusterOptions", {});
constexpr schema cluster_pointer = pointer(cluster_options);
constexpr field mount_fields[] = {{"Type", &mount_type, omit},
                                  {"Source", &string_type, omit},
                                  {"Target", &string_type, omit},
                                  {"ReadOnly", &bool_type, omit},
                                  {"Consistency", &consistency, omit},
                                  {"BindOptions", &bind_pointer, omit},
                                  {"VolumeOptions", &volume_pointer, omit},
                                  {"ImageOptions", &image_pointer, omit},
                                  {"TmpfsOptions", &tmpfs_pointer, omit},
                                  {"ClusterOptions", &cluster_pointer, omit}};
constexpr schema mount = object("mount.Mount", mount_fields);
constexpr schema mounts = slice("[]mount.Mount", mount);

constexpr field host_config_fields[] = {{"Binds", &string_slice},
                                        {"ContainerIDFile", &string_type},
                                        {"LogConfig", &log_config},
                                        {"NetworkMode", &network_mode},
                                        {"PortBindings", &port_map},
                                        {"RestartPolicy", &restart_policy},
                                        {"AutoRemove", &bool_type},
                                        {"VolumeDriver", &string_type},
                                        {"VolumesFrom", &string_slice},
                                        {"ConsoleSize", &console_size},
                                        {"Annotations", &string_map, omit},
                                        {"CapAdd", &string_list_type},
                                        {"CapDrop", &string_list_type},
                                        {"CgroupnsMode", &cgroupns_mode},
                                        {"Dns", &string_slice},
                                        {"DnsOptions", &string_slice},
                                        {"DnsSearch", &string_slice},
                                        {"ExtraHosts", &string_slice},
                                        {"GroupAdd", &string_slice},
                                        {"IpcMode", &ipc_mode},
                                        {"Cgroup", &cgroup_spec},
                                        {"Links", &string_slice},
                                        {"OomScoreAdj", &int_type},
                                        {"PidMode", &pid_mode},
                                        {"Privileged", &bool_type},
                                        {"PublishAllPorts", &bool_type},
                                        {"ReadonlyRootfs", &bool_type},
                                        {"SecurityOpt", &string_slice},
                                        {"StorageOpt", &string_map, omit},
                                        {"Tmpfs", &string_map, omit},
                                        {"UTSMode", &uts_mode},
                                        {"UsernsMode", &userns_mode},
                                        {"ShmSize", &int64_type},
                                        {"Sysctls", &string_map, omit},
                                        {"Runtime", &string_type},
                                        {"Isolation", &isolation_mode},
                                        ARCA_RESOURCE_FIELDS,
                                        {"Mounts", &mounts, omit},
                                        {"MaskedPaths", &string_slice},
                                        {"ReadonlyPaths", &string_slice},
                                        {"Init", &bool_pointer, omit}};
}  // namespace
constexpr schema resources = object("container.Resources", resource_fields);
constexpr schema host_config = object("container.HostConfig", host_config_fields);

// network.NetworkingConfig
namespace {
constexpr field ipam_fields[] = {
    {"IPv4Address", &string_type, omit}, {"IPv6Address", &string_type, omit}, {"LinkLocalIPs", &string_slice, omit}};
constexpr schema endpoint_ipam = object("network.EndpointIPAMConfig", ipam_fields);
constexpr schema endpoint_ipam_pointer = pointer(endpoint_ipam);
constexpr field endpoint_fields[] = {{"IPAMConfig", &endpoint_ipam_pointer},
                                     {"Links", &string_slice},
                                     {"Aliases", &string_slice},
                                     {"MacAddress", &string_type},
                                     {"DriverOpts", &string_map},
                                     {"GwPriority", &int_type},
                                     {"NetworkID", &string_type},
                                     {"EndpointID", &string_type},
                                     {"Gateway", &string_type},
                                     {"IPAddress", &string_type},
                                     {"IPPrefixLen", &int_type},
                                     {"IPv6Gateway", &string_type},
                                     {"GlobalIPv6Address", &string_type},
                                     {"GlobalIPv6PrefixLen", &int_type},
                                     {"DNSNames", &string_slice}};
}  // namespace
constexpr schema endpoint_settings = object("network.EndpointSettings", endpoint_fields);
namespace {
constexpr schema endpoint_pointer = pointer(endpoint_settings);
constexpr schema endpoint_map = map("map[string]*network.EndpointSettings", endpoint_pointer);
constexpr field networking_fields[] = {{"EndpointsConfig", &endpoint_map}};
}  // namespace
constexpr schema networking_config = object("network.NetworkingConfig", networking_fields);

namespace {
constexpr schema host_config_pointer = pointer(host_config);
constexpr schema networking_pointer = pointer(networking_config);
constexpr field create_fields[] = {
    ARCA_CONFIG_FIELDS, {"HostConfig", &host_config_pointer}, {"NetworkingConfig", &networking_pointer}};
constexpr field update_fields[] = {ARCA_RESOURCE_FIELDS, {"RestartPolicy", &restart_policy}};
}  // namespace
constexpr schema create_request = object("container.CreateRequest", create_fields);
constexpr schema update_config = object("container.UpdateConfig", update_fields);

// Exec
namespace {
constexpr field exec_fields[] = {{"User", &string_type},       {"Privileged", &bool_type},
                                 {"Tty", &bool_type},          {"ConsoleSize", &console_size_pointer, omit},
                                 {"AttachStdin", &bool_type},  {"AttachStderr", &bool_type},
                                 {"AttachStdout", &bool_type}, {"DetachKeys", &string_type},
                                 {"Env", &string_slice},       {"WorkingDir", &string_type},
                                 {"Cmd", &string_slice}};
constexpr field exec_start_fields[] = {
    {"Detach", &bool_type}, {"Tty", &bool_type}, {"ConsoleSize", &console_size_pointer, omit}};
constexpr field process_fields[] = {{"tty", &bool_type},
                                    {"entrypoint", &string_type},
                                    {"arguments", &string_slice},
                                    {"privileged", &bool_pointer, omit},
                                    {"user", &string_type, omit}};
constexpr schema process_config = object("backend.ExecProcessConfig", process_fields);
constexpr schema process_pointer = pointer(process_config);
constexpr field exec_inspect_fields[] = {{"ID", &string_type},
                                         {"Running", &bool_type},
                                         {"ExitCode", &int_pointer},
                                         {"ProcessConfig", &process_pointer},
                                         {"OpenStdin", &bool_type},
                                         {"OpenStderr", &bool_type},
                                         {"OpenStdout", &bool_type},
                                         {"CanRemove", &bool_type},
                                         {"ContainerID", &string_type},
                                         {"DetachKeys", &string_type},
                                         {"Pid", &int_type}};
}  // namespace
constexpr schema exec_options = object("container.ExecOptions", exec_fields);
constexpr schema exec_start_options = object("container.ExecStartOptions", exec_start_fields);
constexpr schema exec_inspect = object("backend.ExecInspect", exec_inspect_fields);

// Answers: inspect and list
namespace {
constexpr field point_fields[] = {{"Type", &mount_type, omit},
                                  {"Name", &string_type, omit},
                                  {"Source", &string_type},
                                  {"Destination", &string_type},
                                  {"Driver", &string_type, omit},
                                  {"Mode", &string_type},
                                  {"RW", &bool_type},
                                  {"Propagation", &propagation}};
}
constexpr schema mount_point = object("container.MountPoint", point_fields);
namespace {
constexpr schema mount_points = slice("[]container.MountPoint", mount_point);
constexpr field settings_fields[] = {{"Bridge", &string_type},
                                     {"SandboxID", &string_type},
                                     {"SandboxKey", &string_type},
                                     {"Ports", &port_map},
                                     {"HairpinMode", &bool_type},
                                     {"LinkLocalIPv6Address", &string_type},
                                     {"LinkLocalIPv6PrefixLen", &int_type},
                                     {"SecondaryIPAddresses", &raw_type},
                                     {"SecondaryIPv6Addresses", &raw_type},
                                     {"EndpointID", &string_type},
                                     {"Gateway", &string_type},
                                     {"GlobalIPv6Address", &string_type},
                                     {"GlobalIPv6PrefixLen", &int_type},
                                     {"IPAddress", &string_type},
                                     {"IPPrefixLen", &int_type},
                                     {"IPv6Gateway", &string_type},
                                     {"MacAddress", &string_type},
                                     {"Networks", &endpoint_map}};
}  // namespace
constexpr schema network_settings = object("container.NetworkSettings", settings_fields);
namespace {
constexpr field state_fields[] = {
    {"Status", &string_type},  {"Running", &bool_type},     {"Paused", &bool_type},       {"Restarting", &bool_type},
    {"OOMKilled", &bool_type}, {"Dead", &bool_type},        {"Pid", &int_type},           {"ExitCode", &int_type},
    {"Error", &string_type},   {"StartedAt", &string_type}, {"FinishedAt", &string_type}, {"Health", &raw_type, omit}};
constexpr schema state = object("container.State", state_fields);
constexpr field graph_fields[] = {{"Data", &string_map}, {"Name", &string_type}};
constexpr schema graph_driver = object("storage.DriverData", graph_fields);
constexpr field machine_fields[] = {
    {"Kind", &string_type},     {"Id", &string_type},    {"Pid", &int64_type},
    {"MemoryMiB", &int64_type}, {"Cpus", &int_type},     {"Accelerator", &string_type},
    {"Guest", &string_type},    {"Stages", &raw_type},   {"EngineStages", &raw_type},
    {"StartMs", &raw_type},     {"EngineMs", &raw_type}, {"Unresponsive", &bool_type, omit}};
constexpr schema machine = object("arca.Machine", machine_fields);
constexpr field inspect_fields[] = {{"Id", &string_type},
                                    {"Created", &string_type},
                                    {"Path", &string_type},
                                    {"Args", &string_slice},
                                    {"State", &state},
                                    {"Image", &string_type},
                                    {"ResolvConfPath", &string_type},
                                    {"HostnamePath", &string_type},
                                    {"HostsPath", &string_type},
                                    {"LogPath", &string_type},
                                    {"Name", &string_type},
                                    {"RestartCount", &int_type},
                                    {"Driver", &string_type},
                                    {"Platform", &string_type},
                                    {"MountLabel", &string_type},
                                    {"ProcessLabel", &string_type},
                                    {"AppArmorProfile", &string_type},
                                    {"ExecIDs", &string_slice},
                                    {"HostConfig", &host_config},
                                    {"GraphDriver", &graph_driver},
                                    {"SizeRw", &int64_pointer, omit},
                                    {"SizeRootFs", &int64_pointer, omit},
                                    {"Mounts", &mount_points},
                                    {"Config", &container_config},
                                    {"NetworkSettings", &network_settings},
                                    {"Machine", &machine, omit}};  // Arca's own
constexpr field port_fields[] = {{"IP", &string_type, omit},
                                 {"PrivatePort", &uint16_type},
                                 {"PublicPort", &uint16_type, omit},
                                 {"Type", &string_type}};
constexpr schema port = object("container.Port", port_fields);
constexpr schema ports = slice("[]container.Port", port);
constexpr field summary_host_fields[] = {{"NetworkMode", &string_type, omit}, {"Annotations", &string_map, omit}};
constexpr schema summary_host = object("struct {…}", summary_host_fields);
constexpr field summary_network_fields[] = {{"Networks", &endpoint_map}};
constexpr schema summary_network = object("container.NetworkSettingsSummary", summary_network_fields);
constexpr field summary_fields[] = {{"Id", &string_type},
                                    {"Names", &string_slice},
                                    {"Image", &string_type},
                                    {"ImageID", &string_type},
                                    {"Command", &string_type},
                                    {"Created", &int64_type},
                                    {"Ports", &ports},
                                    {"SizeRw", &int64_type, omit},
                                    {"SizeRootFs", &int64_type, omit},
                                    {"Labels", &string_map},
                                    {"State", &string_type},
                                    {"Status", &string_type},
                                    {"HostConfig", &summary_host},
                                    {"NetworkSettings", &summary_network},
                                    {"Mounts", &mount_points}};
}  // namespace
constexpr schema container_inspect = object("container.InspectResponse", inspect_fields);
constexpr schema container_summary = object("container.Summary", summary_fields);

// Volumes, networks, registries
namespace {
constexpr schema cluster_volume = object("volume.ClusterVolumeSpec", {});  // that it is there is enough
constexpr schema cluster_volume_pointer = pointer(cluster_volume);
constexpr field volume_create_fields[] = {{"ClusterVolumeSpec", &cluster_volume_pointer, omit},
                                          {"Driver", &string_type},
                                          {"DriverOpts", &string_map},
                                          {"Labels", &string_map},
                                          {"Name", &string_type}};
constexpr field ipam_config_fields[] = {{"Subnet", &string_type, omit},
                                        {"IPRange", &string_type, omit},
                                        {"Gateway", &string_type, omit},
                                        {"AuxiliaryAddresses", &string_map, omit}};
constexpr schema ipam_config = object("network.IPAMConfig", ipam_config_fields);
constexpr schema ipam_configs = slice("[]network.IPAMConfig", ipam_config);
constexpr field ipam_all_fields[] = {{"Driver", &string_type}, {"Options", &string_map}, {"Config", &ipam_configs}};
constexpr schema ipam = object("network.IPAM", ipam_all_fields);
constexpr schema ipam_pointer = pointer(ipam);
constexpr field config_reference_fields[] = {{"Network", &string_type}};
constexpr schema config_reference = object("network.ConfigReference", config_reference_fields);
constexpr schema config_reference_pointer = pointer(config_reference);
constexpr field network_create_fields[] = {{"Name", &string_type},
                                           {"Driver", &string_type},
                                           {"Scope", &string_type},
                                           {"EnableIPv4", &bool_pointer, omit},
                                           {"EnableIPv6", &bool_pointer, omit},
                                           {"IPAM", &ipam_pointer},
                                           {"Internal", &bool_type},
                                           {"Attachable", &bool_type},
                                           {"Ingress", &bool_type},
                                           {"ConfigOnly", &bool_type},
                                           {"ConfigFrom", &config_reference_pointer},
                                           {"Options", &string_map},
                                           {"Labels", &string_map},
                                           {"CheckDuplicate", &bool_pointer, omit}};
constexpr field connect_fields[] = {{"Container", &string_type}, {"EndpointConfig", &endpoint_pointer, omit}};
constexpr field disconnect_fields[] = {{"Container", &string_type}, {"Force", &bool_type}};
constexpr field auth_fields[] = {{"username", &string_type, omit},      {"password", &string_type, omit},
                                 {"auth", &string_type, omit},          {"email", &string_type, omit},
                                 {"serveraddress", &string_type, omit}, {"identitytoken", &string_type, omit},
                                 {"registrytoken", &string_type, omit}};
constexpr field platform_fields[] = {{"architecture", &string_type},
                                     {"os", &string_type},
                                     {"os.version", &string_type, omit},
                                     {"os.features", &string_slice, omit},
                                     {"variant", &string_type, omit}};
}  // namespace
constexpr schema volume_create = object("volume.CreateOptions", volume_create_fields);
constexpr schema network_create = object("network.CreateRequest", network_create_fields);
constexpr schema network_connect = object("network.ConnectOptions", connect_fields);
constexpr schema network_disconnect = object("network.DisconnectOptions", disconnect_fields);
constexpr schema auth_config = object("registry.AuthConfig", auth_fields);
constexpr schema platform = object("v1.Platform", platform_fields);

namespace {
// encoding/json's foldName: letters without case; the long s and the Kelvin sign fold to their letters.
std::string fold(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\xc5\xbf") {
      out += 's';
      i += 1;
    } else if (text.substr(i, 3) == "\xe2\x84\xaa") {
      out += 'k';
      i += 2;
    } else {
      const char c = text[i];
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return out;
}
}  // namespace

const field* find_field(const schema& type, std::string_view key) {
  for (const auto& f : type.fields)
    if (key == f.name) return &f;
  const auto folded = fold(key);
  for (const auto& f : type.fields) {
    const std::string_view name = f.name;  // plain ASCII
    if (name.size() == folded.size() && std::equal(name.begin(), name.end(), folded.begin(), [](char n, char k) {
          return (n >= 'A' && n <= 'Z' ? static_cast<char>(n - 'A' + 'a') : n) == k;
        }))
      return &f;
  }
  return nullptr;
}

}  // namespace arca::model::go
