#include "actors/machine/launch_plan.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <future>

#include "actors/machine/network_files.hpp"
#include "actors/model/mounts.hpp"
#include "actors/model/networks.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/oci/json_access.hpp"
#include "vm/oci/program_search.hpp"
#include "vm/oci/rootfs.hpp"
#include "vm/oci/spec.hpp"

namespace arca::launch {
namespace {

using namespace std::chrono_literals;
constexpr auto call_limit = 10'000ms;
constexpr uint64_t spool_limit = 16u << 20;  ///< in the run folder, hence in memory

/// --init: the first that is there. "" when there is none.
const std::string& docker_init() {
  static const std::string path = [] {
    for (const auto* candidate : {"/usr/bin/docker-init", "/usr/libexec/docker/docker-init", "/usr/bin/tini-static"})
      if (access(candidate, X_OK) == 0) return std::string(candidate);
    return std::string();
  }();
  return path;
}

/// Mounts of the record with the details that only HostConfig.Mounts has.
struct mount_details {
  bool create = true, recursive = true;
  std::string subpath;
};
result<std::map<std::string, mount_details>> details_of(const model::container_record& r) {
  std::map<std::string, mount_details> out;
  const auto& given = oci::member(r.host_config, "Mounts");
  if (!given.is_array() || given.empty()) return out;  // Binds: made when missing, recursive
  auto host_config = r.host_config;
  host_config["VolumesFrom"] = nullptr;
  ARCA_TRY(plans, model::plan_mounts(r.config, host_config));
  for (const auto& plan : plans) out[plan.point.destination] = {plan.create_source, plan.recursive, plan.subpath};
  return out;
}

result<unique_fd> open_subpath(const std::string& volume, const std::string& subpath) {
  const unique_fd root(::open(volume.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno("open " + volume);
  auto found = oci::open_below(root.get(), subpath, O_PATH);
  if (found) return found;
  const auto whole = volume + '/' + subpath;
  if (found.error().code() == errc::not_found)
    return fail(errc::not_found, "cannot access path " + whole + ": lstat " + whole + ": no such file or directory");
  return fail(found.error().wrap("cannot access path " + whole));
}

/// The mounts for the spec; what the agent cannot reach by a path is shared as a descriptor.
result<std::vector<oci::mount_input>> share_mounts(vm::machine& box, const model::container_record& r,
                                                   std::vector<std::pair<std::string, std::string>>& sources) {
  ARCA_TRY(mounts, oci::tmpfs_mounts(r.host_config));
  ARCA_TRY(details, details_of(r));
  for (const auto& point : r.mounts) {
    if (point.type == "tmpfs") continue;  // came with tmpfs_mounts
    const auto known = details.find(point.destination);
    const mount_details detail = known == details.end() ? mount_details{} : known->second;
    oci::mount_input m;
    m.type = point.type;
    m.source = point.source;
    m.destination = point.destination;
    // Docker gives a volume no propagation of its own: what the host mounts below it later is seen inside.
    m.propagation = point.type == "bind" ? point.propagation : box.on_host_kernel() ? "rslave" : "";
    m.read_only = !point.read_write;
    m.recursive = detail.recursive;
    // Not by its path: the host may have mounted something there since the agent copied its mount table.
    ARCA_TRY(fd, detail.subpath.empty() ? oci::open_bind_source(point.source, detail.create && point.type == "bind")
                                        : open_subpath(point.source, detail.subpath));
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) return fail_errno("stat " + point.source);
    m.recursive = m.recursive && S_ISDIR(info.st_mode);
    const bool relayed = S_ISSOCK(info.st_mode) && !box.on_host_kernel();
    ARCA_TRY(token, relayed ? box.share_socket(std::move(fd))
                            : box.share(std::move(fd), !box.on_host_kernel() && m.read_only, m.recursive));
    sources.emplace_back(point.destination, token);
    mounts.push_back(std::move(m));
  }
  return std::move(mounts);
}

/// A tmpfs looks like the folder that it covers, whatever mode was asked for (runc).
void keep_modes(int root_fd, std::vector<oci::mount_input>& mounts) {
  for (auto& m : mounts) {
    if (m.type != "tmpfs") continue;
    const auto folder = oci::open_below(root_fd, m.destination, O_PATH | O_DIRECTORY);
    struct stat info {};
    if (!folder || fstat(folder->get(), &info) != 0) continue;
    char mode[16];
    snprintf(mode, sizeof mode, "mode=%o", static_cast<unsigned>(info.st_mode & 07777));
    m.tmpfs_options += (m.tmpfs_options.empty() ? "" : ",") + std::string(mode);
  }
}

/// crun gives every folder that it makes a sticky bit. Not for what lies in another mount: that is not there yet.
void make_mount_points(int root_fd, const std::vector<oci::mount_input>& mounts) {
  const auto inside = [&](const std::string& path) {
    return std::any_of(mounts.begin(), mounts.end(),
                       [&](const oci::mount_input& other) { return starts_with(path, other.destination + '/'); });
  };
  for (const auto& m : mounts) {
    struct stat info {};
    const bool folder = m.type == "tmpfs" || (stat(m.source.c_str(), &info) == 0 && S_ISDIR(info.st_mode));
    const auto& to = m.destination;
    if (!folder || inside(to) || starts_with(to, "/proc/") || starts_with(to, "/sys/") || starts_with(to, "/dev/"))
      continue;
    (void)oci::make_working_dir(root_fd, to, 0, 0);  // the launcher says why it could not be
  }
}

/// A machine with a kernel of its own gets the files that the engine manages as shares as well.
result<void> share_files(vm::machine& box, const oci::spec_inputs& in,
                         std::vector<std::pair<std::string, std::string>>& sources) {
  std::vector<std::pair<const char*, std::string>> files = {
      {"/etc/resolv.conf", in.resolv_path}, {"/etc/hostname", in.hostname_path}, {"/etc/hosts", in.hosts_path}};
  if (oci::wants_init(in.host_config)) files.emplace_back(oci::init_destination, in.init_path);
  for (const auto& [destination, path] : files) {
    const bool replaced = std::any_of(in.mounts.begin(), in.mounts.end(),
                                      [&](const oci::mount_input& m) { return m.destination == destination; });
    if (path.empty() || replaced) continue;
    unique_fd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!file) return fail_errno("open " + path);
    ARCA_TRY(token, box.share(std::move(file), false, false));
    sources.emplace_back(destination, token);
  }
  return {};
}

std::string path_variable(const nlohmann::json& config, const nlohmann::json* more) {
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const auto* source : {&config, more})
    if (source != nullptr)
      for (const auto& item : oci::texts(*source, "Env"))
        if (starts_with(item, "PATH=")) path = item.substr(5);
  return path;
}

std::pair<uint32_t, uint32_t> console(const nlohmann::json& from) {
  const auto& size = oci::member(from, "ConsoleSize");
  if (!size.is_array() || size.size() != 2 || !size[0].is_number_unsigned() || !size[1].is_number_unsigned())
    return {0, 0};
  return {size[0].get<uint32_t>(), size[1].get<uint32_t>()};
}

bool non_blocking(const model::container_record& r) {
  return oci::text(oci::member(oci::member(r.host_config, "LogConfig"), "Config"), "mode") == "non-blocking";
}

std::string own_network_namespace() {
  return "/proc/" + std::to_string(getpid()) + "/ns/net";
}

/// A container on the host's network was joined: then this one is there, too.
bool is_own_network(const std::string& path) {
  struct stat one {};
  struct stat own {};
  return stat(path.c_str(), &one) == 0 && stat(own_network_namespace().c_str(), &own) == 0 && one.st_ino == own.st_ino;
}

bool shares_network(const order& o) {
  return std::any_of(o.joined.begin(), o.joined.end(), [](const joined_namespace& j) { return j.kind == "network"; });
}

const oci::host_limits& limits_of(const vm::machine& box) {
  return box.on_host_kernel() ? oci::this_host() : oci::guest_kernel();
}

oci::spec_inputs inputs_of(const vm::machine& box, const model::container_record& r) {
  const auto command = model::command_of(r);
  std::vector<std::string> args = {command.path};
  args.insert(args.end(), command.args.begin(), command.args.end());
  oci::spec_inputs in{
      r.id, r.config, r.host_config, std::move(args), {}, {}, "", "", "", docker_init(), "", {}, false, {},
      "",   {},       limits_of(box)};
  in.link_environment = oci::texts(r.links, "env");
  return in;
}

/// What the container shares with others goes into the spec's inputs; descriptors that it names into `out`.
result<void> join_namespaces(vm::machine& box, const order& o, oci::spec_inputs& in, prepared& out) {
  const auto take = [&](const std::string& what, const vm::namespace_donor& donor) -> result<std::string> {
    ARCA_TRY(source, box.join(what, donor));
    if (!source.token.empty()) out.request.mount_sources.emplace_back("/dev/shm", source.token);
    if (source.held) out.held.push_back(std::move(source.held));
    return source.path;
  };
  const bool has_own_shm = std::any_of(in.mounts.begin(), in.mounts.end(), [](const oci::mount_input& m) {
    return m.destination == "/dev/shm" || m.destination == "/dev";
  });
  for (const auto& shared : o.joined) {
    ARCA_TRY(machine, vm::identity_from_json(shared.machine));
    const vm::namespace_donor donor{shared.container_id, std::move(machine), shared.pid};
    ARCA_TRY(path, take(shared.kind, donor));
    if (shared.kind == "network") in.host_network = box.on_host_kernel() && is_own_network(path);
    in.joined[shared.kind] = std::move(path);
    if (shared.kind != "ipc" || has_own_shm) continue;
    ARCA_TRY(shm, take("shm", donor));
    in.joined_shm = std::move(shm);
  }
  return {};
}

/// A VM is told where not to look for the program. Whether the container has mounted something since, its agent knows.
void help_search(oci::spec_inputs& in, const vm::machine& box, const model::container_record& r, int root_fd) {
  if (box.on_host_kernel()) return;
  std::vector<std::string> points = {oci::init_destination, "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"};
  for (const auto& point : r.mounts) points.push_back(point.destination);
  for (const auto& [destination, options] : oci::text_map(r.host_config, "Tmpfs")) points.push_back(destination);
  in.lacking = [root_fd, points = std::move(points)](const std::string& program, const std::string& path) {
    return oci::folders_without(root_fd, program, path, points);
  };
}

}  // namespace

void stages::done(const char* name) {
  const auto now = std::chrono::steady_clock::now();
  steps_.emplace_back(name, std::chrono::duration<double, std::milli>(now - last_).count());
  last_ = now;
}

std::string stages::text() const {
  std::string out;
  for (const auto& [name, ms] : steps_) {
    char one[64];
    snprintf(one, sizeof one, "%s%s=%.1fms", out.empty() ? "" : " ", name.c_str(), ms);
    out += one;
  }
  return out;
}

bool host_network(const order& o) {
  return !o.endpoints.empty() && o.endpoints.front().driver == "host";
}

result<std::string> machine_beside(const order& o, const std::string& runtime) {
  std::string dir;
  if (runtime != "vm") return dir;
  for (const auto& shared : o.joined) {
    ARCA_TRY(machine, vm::identity_from_json(shared.machine));
    if (!dir.empty() && dir != machine.dir)
      return fail(errc::invalid_argument,
                  "the containers whose namespaces are to be shared are in different virtual machines");
    dir = machine.dir;
  }
  return dir;
}

vm::nic_spec nic_of(const order& o) {
  vm::nic_spec nic;
  if (o.endpoints.empty() || o.endpoints.front().bridge.empty()) return nic;
  const auto& e = o.endpoints.front();
  const auto& shown = o.record->endpoints;
  const auto wishes = shown.empty() ? nlohmann::json() : shown.front().config;
  nic.name = model::interface_name(wishes);
  nic.host_name = e.host_device;
  nic.bridge = e.bridge;
  nic.mac = e.mac;
  nic.addresses = {e.ip4 + '/' + std::to_string(e.prefix4)};
  for (auto& address : model::link_local_addresses(wishes)) nic.addresses.push_back(std::move(address));
  nic.gateway4 = e.gateway4;
  nic.mtu = e.mtu;
  return nic;
}

namespace {
/// What the agent does not set for the machine's own network.
std::map<std::string, std::string> network_sysctls_of(const vm::machine& box, const order& o) {
  if (!shares_network(o)) {
    if (box.is_joined()) return oci::network_sysctls(o.record->host_config, false);
    return {};
  }
  auto out = oci::text_map(o.record->host_config, "Sysctls");
  std::erase_if(out, [](const auto& one) { return !starts_with(one.first, "net."); });
  return out;
}

vm::agent_configuration configuration_of(const vm::machine& box, const order& o) {
  const auto& r = *o.record;
  vm::agent_configuration out;
  out.machine_id = r.id;
  out.hostname = oci::text(r.config, "Hostname");
  out.machine_dir = box.identity().dir;
  out.cgroup_path = box.identity().cgroup;
  if (!shares_network(o)) out.sysctls = oci::network_sysctls(r.host_config, host_network(o));
  return out;
}
}  // namespace

result<prepared> prepare(vm::machine& box, const order& o, const std::shared_ptr<process_io>& io) {
  const auto& r = *o.record;
  prepared out;
  const bool on_host_network = host_network(o);

  // The agent configures itself while the rest is made here.
  auto promise = std::make_shared<std::promise<result<void>>>();
  auto configured = promise->get_future();
  if (box.is_joined())
    promise->set_value({});
  else
    box.agent().configure(configuration_of(box, o), call_limit,
                          [promise](result<void> done) { promise->set_value(std::move(done)); });

  const auto made = [&]() -> result<void> {
    network_file_paths files{r.hosts_path, r.hostname_path, r.resolv_path};
    if (!shares_network(o)) {
      ARCA_TRY(written, write_network_files(r, o.container_dir, o.endpoints, on_host_network));
      files = std::move(written);
    }
    out.times.done("files");
    ARCA_TRY(rootfs, box.attach_rootfs({o.layers, o.container_dir + "/upper", o.container_dir + "/work",
                                        oci::flag(r.host_config, "ReadonlyRootfs")}));
    out.root = std::make_shared<unique_fd>(std::move(rootfs.root));
    out.times.done("rootfs");

    auto in = inputs_of(box, r);
    ARCA_TRY(user,
             oci::resolve_user(out.root->get(), oci::text(r.config, "User"), oci::texts(r.host_config, "GroupAdd")));
    in.user = user;
    ARCA_CHECK(oci::make_working_dir(out.root->get(), oci::text(r.config, "WorkingDir"), 0, 0));
    ARCA_TRY(mounts, share_mounts(box, r, out.request.mount_sources));
    in.mounts = std::move(mounts);
    for (const auto& m : in.mounts)
      if (m.type != "tmpfs") out.words.mount_sources[m.destination] = m.source;
    keep_modes(out.root->get(), in.mounts);
    if (box.on_host_kernel()) make_mount_points(out.root->get(), in.mounts);
    in.hosts_path = files.hosts;
    in.hostname_path = files.hostname;
    in.resolv_path = files.resolv;
    if (!box.on_host_kernel()) ARCA_CHECK(share_files(box, in, out.request.mount_sources));
    ARCA_CHECK(box.finish_shares());
    in.host_network = on_host_network;
    if (on_host_network) in.joined["network"] = own_network_namespace();
    // The machine's own network is its first container's. Another one's NIC is moved into a namespace that is kept
    // under the container's id.
    if (box.is_joined()) in.joined["network"] = nic_of(o).name.empty() ? "" : "container:" + r.id;
    in.network_sysctls = network_sysctls_of(box, o);
    ARCA_CHECK(join_namespaces(box, o, in, out));
    if (!box.on_host_kernel()) {
      // Its devices are its own; those of the host were refused at create.
    } else if (oci::flag(r.host_config, "Privileged")) {
      in.devices = oci::all_devices();
    } else {
      ARCA_TRY(devices, oci::gather_devices(r.host_config));
      in.devices = std::move(devices);
    }
    help_search(in, box, r, out.root->get());
    in.cgroups_path = box.container_cgroup();
    ARCA_TRY(spec, oci::build_spec(in));
    out.warnings = std::move(spec.warnings);

    out.request.container_id = r.id;
    out.request.oci_spec = std::move(spec.json);
    out.request.rootfs = rootfs.token;
    out.request.rootfs_is_path = rootfs.is_path;
    out.request.read_only = oci::flag(r.host_config, "ReadonlyRootfs");
    out.words.program = in.args.front();
    if (io) {
      ARCA_TRY(socket, box.connect_stdio(r.id, "init", 1));
      out.stdio = std::move(socket);
    }
    out.times.done("spec");
    return {};
  }();
  const auto ready = configured.get();
  out.times.done("configure");
  if (!made) return fail(made.error());
  if (!ready) {
    if (ready.error().code() == errc::timeout) return fail(ready.error());
    return fail(oci::init_error(ready.error().message()));
  }

  auto& stdio = out.request.stdio;
  stdio.tty = oci::flag(r.config, "Tty");
  stdio.open_stdin = oci::flag(r.config, "OpenStdin");
  stdio.capture = io != nullptr;
  std::tie(stdio.rows, stdio.columns) = console(r.host_config);
  stdio.spool_limit = spool_limit;
  stdio.non_blocking = non_blocking(r);
  out.words.path_env = path_variable(r.config, nullptr);
  out.words.cwd = oci::text(r.config, "WorkingDir");
  out.words.root_fd = out.root->get();
  return out;
}

result<prepared_exec> prepare_exec(vm::machine& box, const model::container_record& r,
                                   const std::shared_ptr<unique_fd>& root, int64_t pid, const std::string& process_id,
                                   const std::string& config, const std::shared_ptr<process_io>& io) {
  const auto exec = nlohmann::json::parse(config, nullptr, false);
  if (!exec.is_object()) return fail(errc::invalid_argument, "invalid exec configuration");
  prepared_exec out;
  int root_fd = root ? root->get() : -1;
  if (root_fd < 0) {
    ARCA_TRY(opened, box.open_root(pid));
    out.opened_root = std::move(opened);
    root_fd = out.opened_root.get();
  }
  if (const auto folder = oci::text(exec, "WorkingDir"); !folder.empty() && folder.front() != '/')
    return fail(errc::internal, oci::exec_failed + std::string("Cwd must be an absolute path"));
  auto in = inputs_of(box, r);
  auto who = oci::text(exec, "User");
  if (who.empty()) who = oci::text(r.config, "User");
  const auto user = oci::resolve_user(root_fd, who, oci::texts(r.host_config, "GroupAdd"));
  if (!user) return fail(errc::invalid_argument, user.error().message());
  help_search(in, box, r, root_fd);
  ARCA_TRY(process, oci::build_process(in, exec, *user));
  out.request.container_id = r.id;
  out.request.process_id = process_id;
  out.request.oci_process = std::move(process);
  auto& stdio = out.request.stdio;
  stdio.tty = oci::flag(exec, "Tty");
  stdio.open_stdin = oci::flag(exec, "AttachStdin");
  stdio.capture = io != nullptr;
  std::tie(stdio.rows, stdio.columns) = console(exec);
  stdio.spool_limit = spool_limit;
  if (io) {
    ARCA_TRY(hello, box.exec_hello(r.id, process_id));
    out.hello = hello;
    if (!hello) {
      ARCA_TRY(socket, box.connect_stdio(r.id, process_id, 1));
      out.stdio = std::move(socket);
    }
  }
  out.words.exec = true;
  const auto command = oci::texts(exec, "Cmd");
  if (!command.empty()) out.words.program = command.front();
  out.words.path_env = path_variable(r.config, &exec);
  out.words.cwd = oci::text(exec, "WorkingDir");
  if (out.words.cwd.empty()) out.words.cwd = oci::text(r.config, "WorkingDir");
  out.words.root_fd = root_fd;
  return out;
}

std::map<std::string, vm::agent_exit> read_exit_journal(const std::string& machine_dir,
                                                        const std::string& container_id) {
  std::map<std::string, vm::agent_exit> exits;
  const auto text = fs::read_file(machine_dir + "/exits", 4u << 20);
  if (!text) return exits;
  for (const auto& line : split(*text, '\n')) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || oci::text(entry, "container") != container_id) continue;
    vm::agent_exit exit;
    exit.code = static_cast<int32_t>(oci::integer_or(entry, "code", 255));
    exit.at = oci::integer_or(entry, "at", 0);
    exit.oom_killed = oci::flag(entry, "oom");
    exits[oci::text(entry, "process")] = exit;
  }
  return exits;
}

}  // namespace arca::launch
