#include "guest/agent.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "guest/agent_log.hpp"
#include "guest/proto/start.hpp"
#include "guest/vm/identity.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;

constexpr size_t most_processes = 4096;  // that were not acknowledged, per container
constexpr size_t most_containers = 64;
constexpr auto tidy_delay = 1000ms;
constexpr auto freeze_step = 2ms;
constexpr int freeze_tries = 500;
constexpr auto shutdown_limit = 2000ms;
// The daemon acknowledges exits together, some 100 ms later. The connection that one was sent on may have been lost.
constexpr auto longest_carriage = 3000ms;

bool good_id(const std::string& id) {
  return !id.empty() && id.size() <= 64 && id.front() != '.' && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  });
}

tl::unexpected<error> no_container(const std::string& id) {
  return fail(errc::not_found, "no container " + go_quote(id) + " in this machine");
}
tl::unexpected<error> no_process(const std::string& container, const std::string& id) {
  return fail(errc::not_found, "no process " + go_quote(id) + " of container " + go_quote(container));
}

// net.* belongs to the machine's network namespace; everything else would change the host.
result<void> apply_sysctl(const std::string& name, const std::string& value, bool host_network) {
  if (host_network || !starts_with(name, "net.") || name.find("..") != std::string::npos ||
      name.find('/') != std::string::npos)
    return fail(errc::invalid_argument, "sysctl " + go_quote(name) + " is not of the machine's own network");
  std::string path = "/proc/sys/" + name;
  std::replace(path.begin() + 10, path.end(), '.', '/');
  ARCA_TRY(file, fs::open(path, O_WRONLY));
  if (auto written = fs::write_all(file.get(), value); !written) return fail(written.error().wrap(name));
  return {};
}
}  // namespace

agent::agent(loop& on, agent_setup setup, make_launcher how)
    : loop_(on),
      reaper_(on),
      pool_([this] { loop_.post([this] { tidy_memory(); }); }),
      setup_(std::move(setup)),
      make_launcher_(std::move(how)),
      stdio_(
          on, std::move(setup_.stdio_listener), [this](uint64_t generation) { return hello(generation).has_value(); },
          [this](const std::string& container, const std::string& id) {
            process* found = find(container, id);
            return found ? found->stdio.get() : nullptr;
          }) {
  // A namespace machine learns its folder later.
  if (setup_.own_kernel) launcher_ = make_launcher_(loop_, reaper_, setup_.machine_dir);
}

// ---- sandbox

result<void> agent::hello(uint64_t generation) {
  if (generation < generation_)
    return fail(errc::unavailable, "generation " + std::to_string(generation) + " is over, " +
                                       std::to_string(generation_) + " is in control");
  generation_ = generation;
  return {};
}

std::vector<process_view> agent::processes() const {
  std::vector<process_view> out;
  for (const auto& [id, in] : containers_) {
    const bool paused = in.group.state() == freeze_state::frozen;
    for (const auto& [process_id, it] : in.processes) {
      if (it.pid == 0) continue;
      out.push_back({id, process_id, it.pid, it.started_at, it.exit, it.stdio->options().tty, paused && !it.exit});
    }
  }
  return out;
}

result<void> agent::configure(const std::string& machine_id, const std::string& machine_dir,
                              const std::string& hostname, const std::map<std::string, std::string>& sysctls) {
  if (!machine_id_.empty() && machine_id_ != machine_id)
    return fail(errc::conflict, "this is machine " + machine_id_ + " already");
  if (!good_id(machine_id)) return fail(errc::invalid_argument, "invalid machine id " + go_quote(machine_id));
  const std::string folder = machine_dir.empty() || setup_.own_kernel ? setup_.machine_dir : machine_dir;
  if (folder.front() != '/' || folder.size() > guest_start::max_machine_dir)
    return fail(errc::invalid_argument, "invalid machine folder " + go_quote(folder));
  for (const auto& [name, value] : sysctls)
    ARCA_CHECK(setup_.own_kernel ? set_sysctl(name, value) : apply_sysctl(name, value, setup_.host_network));
  if (setup_.own_kernel && !hostname.empty() && sethostname(hostname.data(), hostname.size()) != 0)
    return fail_errno("set the hostname");
  if (!launcher_) {
    setup_.machine_dir = folder;
    launcher_ = make_launcher_(loop_, reaper_, folder);
    if (!setup_.own_kernel) journal_.set_path(folder + '/' + guest_start::exit_journal);
  }
  machine_id_ = machine_id;
  if (setup_.assigned) setup_.assigned();
  return {};
}

bool agent::anything_runs() const {
  return std::ranges::any_of(containers_, [](const auto& c) {
    return std::ranges::any_of(c.second.processes, [](const auto& p) { return p.second.pid != 0 && !p.second.exit; });
  });
}

void agent::shutdown(std::function<void()> done) {
  stopping_ = true;
  for (const auto& [id, in] : containers_) {
    for (const auto& [process_id, it] : in.processes)
      if (it.pid != 0 && !it.exit) kill(it.pid, SIGKILL);
    in.group.kill_all();
  }
  await_dead(std::chrono::steady_clock::now() + shutdown_limit, std::move(done));
}

void agent::await_dead(std::chrono::steady_clock::time_point give_up, std::function<void()> done) {
  if (!anything_runs() || std::chrono::steady_clock::now() >= give_up) return done();
  loop_.after(2ms, [this, give_up, done = std::move(done)] { await_dead(give_up, done); });
}

// ---- processes

result<pid_t> agent::init_pid(const std::string& container) {
  ARCA_CHECK(running(container));
  return find(container, init_process)->pid;
}

agent::process* agent::find(const std::string& container_id, const std::string& process_id) {
  const auto in = containers_.find(container_id);
  if (in == containers_.end()) return nullptr;
  const auto found = in->second.processes.find(process_id);
  return found == in->second.processes.end() ? nullptr : &found->second;
}

result<agent::container*> agent::running(const std::string& container_id) {
  const auto in = containers_.find(container_id);
  if (in == containers_.end()) return no_container(container_id);
  const process* init = find(container_id, init_process);
  if (!init || init->pid == 0 || init->exit)
    return fail(errc::unavailable, "container " + container_id + " is not running");
  return &in->second;
}

result<agent::process*> agent::make_process(container& in, const std::string& id, const stdio_options& options,
                                            child_stdio& child) {
  process made;
  made.id = id;
  made.stdio = std::make_unique<process_stdio>(loop_, pool_, options,
                                               setup_.machine_dir + "/spool-" + std::to_string(++spools_));
  ARCA_TRY(ends, made.stdio->open());
  child = std::move(ends);
  process& kept = in.processes[id] = std::move(made);
  stdio_.made(in.id, id, *kept.stdio);
  return &kept;
}

void agent::create_container(create_call call, reply<process_started> done) {
  if (!launcher_ || stopping_) return done(fail(errc::unavailable, "the machine is not configured"));
  if (!good_id(call.container))
    return done(fail(errc::invalid_argument, "invalid container id " + go_quote(call.container)));
  if (containers_.contains(call.container))
    return done(fail(errc::conflict, "container " + call.container + " exists already"));
  if (containers_.size() >= most_containers) return done(fail(errc::unavailable, "too many containers"));
  create_spec spec;
  if (!call.rootfs_token.empty()) {
    spec.rootfs_tree = stdio_.take(call.rootfs_token);
    if (!spec.rootfs_tree) return done(fail(errc::not_found, "no descriptor was sent for the root file system"));
  } else if (call.rootfs_path.empty() || call.rootfs_path.front() != '/') {
    return done(fail(errc::invalid_argument, "no root file system"));
  }
  for (auto& [destination, token] : call.mount_tokens) {
    unique_fd tree = stdio_.take(token);
    if (!tree) return done(fail(errc::not_found, "no descriptor was sent for the mount at " + destination));
    spec.mount_sources.push_back({destination, std::move(tree)});
  }
  spec.network = stdio_.take(network_token(call.container));
  container& in = containers_[call.container];
  in.id = call.container;
  if (auto made = make_process(in, init_process, call.stdio, spec.stdio); !made) {
    containers_.erase(call.container);
    return done(fail(made.error()));
  }
  spec.container_id = call.container;
  spec.oci_spec = std::move(call.oci_spec);
  spec.rootfs_path = std::move(call.rootfs_path);
  spec.read_only_rootfs = call.read_only_rootfs;
  spec.tty = call.stdio.tty;
  spec.rows = call.stdio.rows;
  spec.columns = call.stdio.columns;
  launcher_->create_container(std::move(spec),
                              [this, id = call.container, done = std::move(done)](result<created> got) {
                                const auto found = containers_.find(id);
                                if (!got) {
                                  containers_.erase(id);
                                  return done(fail(got.error()));
                                }
                                container& made = found->second;
                                made.group = got->group;
                                made.freezer = made.group.open_freezer();
                                made.own_pid_namespace = got->own_pid_namespace;
                                process& init = made.processes[init_process];
                                started(made, init, {got->pid, std::move(got->terminal)});
                                watch_oom(made);
                                done(process_started{init.pid, init.started_at});
                              });
}

void agent::exec(exec_call call, reply<process_started> done) {
  auto in = running(call.container);
  if (!in) return done(fail(in.error()));
  if (!good_id(call.process) || call.process == init_process)
    return done(fail(errc::invalid_argument, "invalid process id " + go_quote(call.process)));
  if (find(call.container, call.process))
    return done(fail(errc::conflict, "process " + call.process + " exists already"));
  if ((*in)->processes.size() >= most_processes) return done(fail(errc::unavailable, "too many processes"));
  if (cgroup::freezes((*in)->freezer))
    return done(fail(errc::unavailable, "container " + call.container + " is paused"));
  exec_spec spec;
  auto made = make_process(**in, call.process, call.stdio, spec.stdio);
  if (!made) return done(fail(made.error()));
  spec.container_id = call.container;
  spec.oci_process = std::move(call.oci_process);
  spec.process = std::move(call.plain);
  spec.tty = call.stdio.tty;
  spec.rows = call.stdio.rows;
  spec.columns = call.stdio.columns;
  launcher_->exec(std::move(spec),
                  [this, id = call.container, name = call.process, done = std::move(done)](result<launched> got) {
                    process* it = find(id, name);
                    if (!it) {  // the container ended and was acknowledged meanwhile
                      if (got) kill(got->pid, SIGKILL);
                      return done(no_container(id));
                    }
                    if (!got) {
                      containers_.at(id).processes.erase(name);
                      return done(fail(got.error()));
                    }
                    started(containers_.at(id), *it, std::move(*got));
                    done(process_started{it->pid, it->started_at});
                  });
}

void agent::abandon(const std::string& container_id, const std::string& process_id) {
  process* it = find(container_id, process_id);
  if (!it || it->pid == 0 || it->abandoned) return;
  it->abandoned = true;
  if (!it->exit) kill(it->pid, SIGKILL);
  if (it->told) forget_abandoned(container_id, process_id);
}

/// Not at once: who tells of the end of its output still uses it.
void agent::forget_abandoned(const std::string& container_id, const std::string& process_id) {
  loop_.post([this, container_id, process_id] { (void)acknowledge(container_id, process_id); });
}

void agent::started(container& in, process& it, launched what) {
  it.pid = what.pid;
  it.started_at = now_nanos();
  const std::string container_id = in.id, process_id = it.id;
  it.stdio->begin(std::move(what.terminal), what.ended, [this, container_id, process_id](uint64_t last_sequence) {
    output_complete(container_id, process_id, last_sequence);
  });
  // Who waits for an exec inside a machine waits for its code, and sees nothing of its number.
  const bool early = setup_.own_kernel && process_id != init_process;
  reaper_.expect(
      it.pid, [this, container_id, process_id](int code) { ended(container_id, process_id, code); }, early);
  if (stopping_) kill(it.pid, SIGKILL);
  tidy_memory();
}

void agent::ended(const std::string& container_id, const std::string& process_id, int code) {
  process* it = find(container_id, process_id);
  if (!it) return;
  container& in = containers_.at(container_id);
  exit_record record{container_id, process_id, code, now_nanos(), false, it->stdio->last_sequence()};
  if (process_id == init_process) {
    check_oom(in);
    record.oom_killed = in.oom_kills > 0;
    if (in.oom_watch) loop_.forget(in.oom_watch.get());
    in.oom_watch.reset();
    if (!in.own_pid_namespace) in.group.kill_all();
  }
  it->exit = record;
  it->stdio->process_exited({record.code, record.at});
  it = find(container_id, process_id);
  if (it && !it->told) {  // somebody else holds its output: the code must be on record before those 2 s are over
    if (auto written = journal_.write(*it->exit); !written) log().write("journal: " + written.error().message());
  }
}

void agent::output_complete(const std::string& container_id, const std::string& process_id, uint64_t last_sequence) {
  process* it = find(container_id, process_id);
  if (!it || !it->exit) return;
  it->exit->last_sequence = last_sequence;
  it->told = true;
  if (it->abandoned) return forget_abandoned(container_id, process_id);
  if (auto written = journal_.write(*it->exit); !written) log().write("journal: " + written.error().message());
  if (!it->stdio->exit_sent()) return emit({container_id, process_id, it->exit});
  loop_.after(longest_carriage, [this, container_id, process_id] {
    const process* later = find(container_id, process_id);
    if (later && later->told) emit({container_id, process_id, later->exit});
  });
}

result<void> agent::signal(const std::string& container_id, const std::string& process_id, int number, bool all) {
  if (number < 1 || number > 64) return fail(errc::invalid_argument, "invalid signal " + std::to_string(number));
  const auto in = containers_.find(container_id);
  if (in == containers_.end()) return no_container(container_id);
  if (all) {
    number == SIGKILL ? in->second.group.kill_all() : in->second.group.signal_all(number);
    return {};
  }
  const process* it = find(container_id, process_id);
  if (!it) return no_process(container_id, process_id);
  // Not collected yet, so the number is still its own.
  if (it->pid == 0 || it->exit || kill(it->pid, number) != 0)
    return fail(errc::unavailable, "process " + process_id + " of container " + container_id + " is not running");
  return {};
}

result<void> agent::resize(const std::string& container_id, const std::string& process_id, uint32_t rows,
                           uint32_t columns) {
  process* it = find(container_id, process_id);
  if (!it) return no_process(container_id, process_id);
  if (it->pid == 0 || it->exit)
    return fail(errc::unavailable, "process " + process_id + " of container " + container_id + " is not running");
  it->stdio->resize(rows, columns);
  return {};
}

void agent::pause(const std::string& container_id, reply<void> done) {
  auto in = running(container_id);
  if (!in) return done(fail(in.error()));
  if (auto frozen = (*in)->group.freeze(true); !frozen) return done(frozen);
  await_frozen(container_id, freeze_tries, std::move(done));
}

void agent::await_frozen(const std::string& container_id, int tries, reply<void> done) {
  auto in = running(container_id);
  if (!in) return done(fail(in.error()));
  switch ((*in)->group.state()) {
    case freeze_state::frozen:
      return done({});
    case freeze_state::thawed:
      return done(fail(errc::unavailable, "container " + container_id + " was resumed meanwhile"));
    case freeze_state::freezing:
      break;
  }
  if (tries == 0) {
    (void)(*in)->group.freeze(false);
    return done(fail(errc::internal, "container " + container_id + " does not freeze"));
  }
  (void)(*in)->group.freeze(true);  // v1 tries again only when it is asked again
  loop_.after(freeze_step,
              [this, container_id, tries, done = std::move(done)] { await_frozen(container_id, tries - 1, done); });
}

result<void> agent::resume(const std::string& container_id) {
  ARCA_TRY(in, running(container_id));
  return in->group.freeze(false);
}

result<void> agent::acknowledge(const std::string& container_id, const std::string& process_id) {
  const process* it = find(container_id, process_id);
  if (!it) return {};  // forgotten already
  // An exit is on record at the daemon's even when somebody else still holds the output.
  if (!it->told && !(process_id == init_process && it->exit))
    return fail(errc::unavailable, "process " + process_id + " of container " + container_id + " has not ended");
  auto erased = journal_.erase(container_id, process_id);
  if (process_id == init_process) {
    erase_container(container_id);
  } else {
    containers_.at(container_id).processes.erase(process_id);
  }
  return erased;
}

// With its init the container is over, and so are the exits of execs that nobody asked for.
void agent::erase_container(const std::string& container_id) {
  container& in = containers_.at(container_id);
  for (const auto& [id, it] : in.processes) {
    if (it.exit) (void)journal_.erase(container_id, id);
    if (it.pid != 0 && !it.exit) reaper_.forget(it.pid);
  }
  containers_.erase(container_id);
  // A machine's last container needs no tidying: the machine ends with it.
  if (!containers_.empty()) launcher_->forget(container_id);
}

result<std::vector<pid_t>> agent::pids(const std::string& container_id) const {
  const auto in = containers_.find(container_id);
  if (in == containers_.end()) return no_container(container_id);
  return in->second.group.processes();
}

result<std::string> agent::statistics(const std::string& container_id) const {
  const auto in = containers_.find(container_id);
  if (in == containers_.end()) return no_container(container_id);
  return in->second.group.statistics(!setup_.host_network);
}

void agent::update_resources(const std::string& container_id, const std::string& resources, reply<void> done) {
  if (auto in = running(container_id); !in) return done(fail(in.error()));
  launcher_->update_resources(container_id, resources, std::move(done));
}

// ---- network

result<void> agent::check_own_network() const {
  if (setup_.host_network) return fail(errc::unavailable, "the machine shares the host's network");
  return {};
}

result<void> agent::configure_interface(const interface_config& config) const {
  ARCA_CHECK(check_own_network());
  return guest::configure_interface(config);
}

result<void> agent::remove_interface(const std::string& name) const {
  ARCA_CHECK(check_own_network());
  return guest::remove_interface(name);
}

result<void> agent::set_interface(const std::string& name, bool up) const {
  ARCA_CHECK(check_own_network());
  return guest::set_interface(name, up);
}

result<void> agent::change_route(const route_change& what) const {
  ARCA_CHECK(check_own_network());
  return guest::change_route(what);
}

// ---- events

void agent::set_event_sink(const std::string& container, std::function<void(const event&)> sink) {
  if (!sink) {
    sinks_.erase(container);
    return;
  }
  sinks_[container] = sink;
  for (const auto& [id, in] : containers_) {
    if (!container.empty() && id != container) continue;
    if (in.oom_kills > 0) sink({id, init_process, {}});
    for (const auto& [process_id, it] : in.processes)
      if (it.told) sink({id, process_id, it.exit});
  }
}

void agent::emit(const event& what) {
  for (const auto& of : {what.container, std::string()})
    if (const auto sink = sinks_.find(of); sink != sinks_.end()) sink->second(what);
}

void agent::watch_oom(container& in) {
  in.oom_watch = in.group.watch_oom();
  if (!in.oom_watch) return;
  loop_.watch(in.oom_watch.get(), EPOLLIN, [this, id = in.id](uint32_t) {
    const auto found = containers_.find(id);
    if (found == containers_.end()) return;
    std::array<char, 4096> drained;
    (void)!read(found->second.oom_watch.get(), drained.data(), drained.size());
    if (std::exchange(found->second.oom_check_due, true)) return;
    // The kernel tells of the want of memory before it counts the kill; a thrashing container tells it all the time.
    loop_.after(20ms, [this, id] {
      const auto later = containers_.find(id);
      if (later == containers_.end()) return;
      later->second.oom_check_due = false;
      check_oom(later->second);
    });
  });
}

void agent::check_oom(container& in) {
  const uint64_t now = in.group.oom_kills();
  if (now <= in.oom_kills) return;
  in.oom_kills = now;
  emit({in.id, init_process, {}});
}

void agent::tidy_memory() {
  if (tidy_timer_ != 0) return;
  tidy_timer_ = loop_.after(tidy_delay, [this] {
    tidy_timer_ = 0;
    pool_.trim();
    malloc_trim(0);
  });
}

}  // namespace arca::guest
