#include "guest/native_launcher.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "guest/fd_passing.hpp"
#include "guest/native/cgroup_tree.hpp"
#include "guest/native/channel.hpp"
#include "guest/native/child.hpp"
#include "guest/native/container_spec.hpp"
#include "guest/native/process_spec.hpp"
#include "guest/native/seccomp.hpp"
#include "guest/native/sources.hpp"
#include "persistence/base/foreign_mount.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using nlohmann::json;
using namespace native;
using namespace std::chrono_literals;

constexpr std::string_view other_container = "container:";
constexpr auto longest_launch = 60'000ms;  // a share that hangs; the daemon's deadline is shorter
constexpr auto longest_patience = 20ms;
constexpr auto first_set_up = 1ms;  // until one has been seen

// "Not found" is a word about containers to the daemon, not about a file that a launch lacks.
error launch_failure(const error& e) {
  const bool own = e.code() == errc::invalid_argument || e.code() == errc::unsupported;
  return {own ? e.code() : errc::internal, e.message()};
}

void set_terminal(process_plan& process, bool tty, uint32_t rows, uint32_t columns) {
  process.tty = tty;
  process.rows = static_cast<uint16_t>(std::min<uint32_t>(rows, UINT16_MAX));
  process.columns = static_cast<uint16_t>(std::min<uint32_t>(columns, UINT16_MAX));
}

// A process that is over soon is told about once, with its end (guest/native/loan.hpp): execve and so short a life take
// together some five times as long as what comes before. One with a terminal is talked to at once.
std::chrono::nanoseconds patience_with(const process_plan& process, std::chrono::nanoseconds set_up) {
  return process.tty ? 0ns : std::min<std::chrono::nanoseconds>(6 * set_up, longest_patience);
}
}  // namespace

struct native_launcher::container {
  pid_t pid = 0;
  unique_fd init;  ///< pidfd
  cgroup group;
  cgroup_tree tree;
  seccomp_filter seccomp;
  capability_sets capabilities;
  bool own_pid_namespace = true;
  unique_fd mounts;  ///< tells changes of its mount table; empty: there may have been some

  // Where nobody has mounted anything, the daemon knows what is not there.
  bool has_first_mounts() {
    pollfd news{mounts.get(), POLLPRI, 0};
    if (mounts && poll(&news, 1, 0) != 0) mounts.reset();
    return static_cast<bool>(mounts);
  }
};

struct native_launcher::launch {
  child_plan plan;  ///< emptied after the clone
  unique_fd cgroup_folder;
  unique_fd channel, pidfd, terminal;
  int channel_number = -1;  ///< the channel's, for the thread that clones
  std::atomic<pid_t> pid = 0;
  int folder() const { return cgroup_folder ? cgroup_folder.get() : -1; }
  bool ready = false, ended = false;
  std::string failure;
  loop::timer_id limit = 0;
  std::optional<loan> lent;                    ///< of an exec
  std::function<void(result<launched>)> done;  ///< of an exec, while it is in execs_
};

native_launcher::native_launcher(loop& on, reaper& children, const std::string& machine_dir)
    : loop_(on),
      reaper_(children),
      threads_(on),
      usual_set_up_(std::chrono::nanoseconds(first_set_up).count()),
      machine_dir_(machine_dir) {
  // Processes that are being launched have this one's memory.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  prepare_clones();
  reaper_.before_collecting([this] { take_over_ended(); });
}

native_launcher::~native_launcher() {
  reaper_.before_collecting([] {});
}

result<std::shared_ptr<native_launcher::launch>> native_launcher::prepare(create_spec& spec, container& into) {
  const json config = json::parse(spec.oci_spec, nullptr, false);
  spec.oci_spec = {};
  auto it = std::make_shared<launch>();
  ARCA_TRY(plan, parse_container(config));
  ARCA_CHECK(resolve_joined(plan, spec));
  plan.staging = machine_dir_;
  plan.read_only_root = plan.read_only_root || spec.read_only_rootfs;
  set_terminal(plan.process, spec.tty, spec.rows, spec.columns);
  ARCA_TRY(filter, seccomp_of_spec(config));
  plan.seccomp = into.seccomp = std::move(filter);
  into.capabilities = plan.process.capabilities;
  plan.process.drop_lacking();
  into.own_pid_namespace = (plan.new_namespaces & CLONE_NEWPID) != 0;
  ARCA_TRY(group, cgroup::at(plan.cgroup_path));
  ARCA_TRY(tree, cgroup_tree::make(plan.cgroup_path));
  into.group = group;
  into.tree = tree;
  const auto& resources = json_fields::member(json_fields::member(config, "linux"), "resources");
  ARCA_CHECK(tree.limit(resources));
  ARCA_CHECK(tree.restrict_devices(resources));
  ARCA_TRY(folder, tree.open_folder(0));
  ARCA_TRY(procs, tree.open_procs());
  ARCA_CHECK(open_sources(plan, spec));
  it->cgroup_folder = std::move(folder);
  it->plan.cgroup_procs = std::move(procs);
  it->plan.container = std::move(plan);
  it->plan.container_id = spec.container_id;
  it->plan.stdio = std::move(spec.stdio);
  return it;
}

// A process that has ended and was not collected keeps its number: what is opened here is of no other one.
result<unique_fd> native_launcher::open_of(const std::string& container_id, const std::string& file) const {
  const auto found = containers_.find(container_id);
  if (found != containers_.end()) {
    auto opened = fs::open("/proc/" + std::to_string(found->second->pid) + '/' + file, O_RDONLY);
    pollfd ended{found->second->init.get(), POLLIN, 0};
    if (opened && poll(&ended, 1, 0) == 0) return opened;
  }
  return fail(errc::internal, "container " + container_id + " is not running");
}

result<void> native_launcher::resolve_joined(container_plan& plan, create_spec& spec) const {
  const auto named = [](const std::string& path) {
    return starts_with(path, other_container) ? path.substr(other_container.size()) : std::string();
  };
  for (auto& joined : plan.joined) {
    const auto id = named(joined.path);
    if (id.empty()) continue;
    if (id == spec.container_id && joined.kind == CLONE_NEWNET && spec.network) {
      joined.fd = std::move(spec.network);
      continue;
    }
    const char* file = joined.kind == CLONE_NEWNET ? "ns/net" : joined.kind == CLONE_NEWIPC ? "ns/ipc" : "ns/pid";
    if (joined.kind != CLONE_NEWNET && joined.kind != CLONE_NEWIPC && joined.kind != CLONE_NEWPID)
      return fail(errc::invalid_argument, "a namespace of another container that is never shared");
    ARCA_TRY(fd, open_of(id, file));
    joined.fd = std::move(fd);
  }
  for (const auto& mount : plan.mounts) {
    const auto id = mount.options.bind ? named(mount.source) : std::string();
    if (id.empty()) continue;
    ARCA_TRY(others, open_of(id, "ns/mnt"));
    ARCA_TRY(tree, clone_foreign_mount(others.get(), mount.target));
    spec.mount_sources.push_back({mount.target, std::move(tree)});
  }
  return {};
}

result<std::shared_ptr<native_launcher::launch>> native_launcher::prepare(exec_spec& spec, container& in) {
  auto it = std::make_shared<launch>();
  const auto text = spec.oci_process.empty() ? json() : json::parse(spec.oci_process, nullptr, false);
  ARCA_TRY(process, spec.process ? plan_process(std::move(*spec.process), text) : parse_process(text));
  if (!process.has_capabilities) process.capabilities = in.capabilities;
  set_terminal(process, spec.tty, spec.rows, spec.columns);
  if (in.has_first_mounts()) process.drop_lacking();
  ARCA_TRY(folder, in.tree.open_folder(in.pid));
  ARCA_TRY(procs, in.tree.open_procs());
  it->cgroup_folder = std::move(folder);
  it->plan.cgroup_procs = std::move(procs);
  it->plan.container.process = std::move(process);
  it->plan.container.seccomp = in.seccomp;
  it->plan.container_id = spec.container_id;
  it->plan.exec = true;
  it->plan.init.reset(fcntl(in.init.get(), F_DUPFD_CLOEXEC, 3));
  it->plan.stdio = std::move(spec.stdio);
  return it;
}

void native_launcher::start(const std::shared_ptr<launch>& it, std::function<void(result<launched>)> done) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return done(fail_errno("socketpair"));
  it->channel.reset(ends[0]);
  it->channel_number = ends[0];
  it->plan.channel.reset(ends[1]);
  it->plan.container.process.seal();
  reaper_.launch_begins();
  it->limit = loop_.after(longest_launch, [it] {
    if (const pid_t pid = it->pid; pid > 0) kill(pid, SIGKILL);
  });
  it->done = std::move(done);
  if (it->plan.exec) return start_exec(it);
  cloned(it, clone_child(it->plan, it->folder(), it->pidfd, it->pid), std::exchange(it->done, nullptr));
}

void native_launcher::start_exec(const std::shared_ptr<launch>& it) {
  it->lent.emplace(patience_with(it->plan.container.process, std::chrono::nanoseconds(usual_set_up_.load())));
  execs_.push_back(it);
  const auto go_on = [this, it](const result<void>& how) {
    std::erase(execs_, it);
    cloned(it, how, std::exchange(it->done, nullptr));
  };
  const bool taken = threads_.take([this, it, go_on] {
    const auto how = clone_borrower(it->plan, it->folder(), it->pid, *it->lent, it->channel_number);
    if (const auto took = it->lent->set_up_time(); took > 0ns) usual_set_up_ = (3 * usual_set_up_ + took.count()) / 4;
    if (!how || !it->lent->taken_over()) loop_.post([go_on, how] { go_on(how); });
  });
  // All threads stand still: without them then.
  if (!taken) go_on(clone_child(it->plan, it->folder(), it->pidfd, it->pid));
}

void native_launcher::take_over_ended() {
  std::vector<std::shared_ptr<launch>> ended;
  for (const auto& each : execs_)
    if (each->lent->take_over_ended(each->pid)) ended.push_back(each);
  for (const auto& each : ended) {
    std::erase(execs_, each);
    each->ended = true;
    cloned(each, {}, std::exchange(each->done, nullptr));
    loop_.post([each] { each->lent->let_go(); });  // after the answer
  }
}

void native_launcher::cloned(const std::shared_ptr<launch>& it, const result<void>& how,
                             std::function<void(result<launched>)> done) {
  it->plan = {};
  it->cgroup_folder.reset();
  if (!how) {
    loop_.cancel(it->limit);
    reaper_.launch_ends();
    return done(fail(launch_failure(how.error())));
  }
  if (read_reports(it, done)) return;  // an exec has said all that it has to say
  loop_.watch(it->channel.get(), EPOLLIN,
              [this, it, done = std::move(done)](uint32_t) { (void)read_reports(it, done); });
}

bool native_launcher::read_reports(const std::shared_ptr<launch>& it,
                                   const std::function<void(result<launched>)>& done) {
  for (;;) {
    report message;
    unique_fd fd;
    const ssize_t n = receive_with_fd(it->channel.get(), &message, sizeof message, fd);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) break;
    if (n != static_cast<ssize_t>(sizeof message)) continue;
    message.why.text.back() = '\0';
    if (message.what == report::kind::terminal) it->terminal = std::move(fd);
    if (message.what == report::kind::ready) it->ready = true;
    if (message.what == report::kind::failed) it->failure = message.why.message();
  }
  loop_.forget(it->channel.get());
  loop_.cancel(it->limit);
  it->channel.reset();
  if (!it->failure.empty())
    done(fail(errc::internal, it->failure));
  else if (!it->ready)
    done(fail(errc::internal, "the process was killed while it was set up (memory limit too low?)"));
  else
    done(launched{it->pid, std::move(it->terminal), it->ended});
  reaper_.launch_ends();
  return true;
}

void native_launcher::create_container(create_spec spec, std::function<void(result<created>)> done) {
  auto made = std::make_shared<container>();
  auto it = prepare(spec, *made);
  if (!it) {
    made->tree.remove();
    return done(fail(launch_failure(it.error())));
  }
  start(*it,
        [this, made, it = std::weak_ptr(*it), id = spec.container_id, done = std::move(done)](result<launched> got) {
          const auto launch = it.lock();
          if (!got) {
            if (!launch || launch->pid == 0) {
              made->tree.remove();
              return done(fail(got.error()));
            }
            // Answered when nothing is left: the process stands in its cgroup for a moment yet.
            kill(launch->pid, SIGKILL);
            made->group.kill_all();
            reaper_.expect(launch->pid, [made, done, why = got.error()](int) {
              made->tree.remove();
              done(fail(why));
            });
            return;
          }
          made->pid = got->pid;
          made->init = std::move(launch->pidfd);
          constexpr uint64_t may_mount = uint64_t{1} << CAP_SYS_ADMIN;
          if ((made->capabilities.bounding & may_mount) == 0)
            if (auto table = fs::open("/proc/" + std::to_string(made->pid) + "/mountinfo", O_RDONLY))
              made->mounts = std::move(*table);
          containers_[id] = made;
          created out;
          static_cast<launched&>(out) = std::move(*got);
          out.group = made->group;
          out.own_pid_namespace = made->own_pid_namespace;
          done(std::move(out));
        });
}

void native_launcher::exec(exec_spec spec, std::function<void(result<launched>)> done) {
  const auto found = containers_.find(spec.container_id);
  if (found == containers_.end())
    return done(fail(errc::internal, "container " + go_quote(spec.container_id) + " is not known to the launcher"));
  auto it = prepare(spec, *found->second);
  if (!it) return done(fail(launch_failure(it.error())));
  start(*it, std::move(done));
}

void native_launcher::update_resources(const std::string& container_id, const std::string& resources,
                                       std::function<void(result<void>)> done) {
  const auto found = containers_.find(container_id);
  const json parsed = json::parse(resources, nullptr, false);
  if (found == containers_.end() || !parsed.is_object())
    return done(fail(errc::invalid_argument, "the container is not known, or the resources are no object"));
  auto limited = found->second->tree.limit(parsed);
  done(limited ? result<void>() : result<void>(fail(launch_failure(limited.error()))));
}

void native_launcher::forget(const std::string& container_id) {
  const auto found = containers_.find(container_id);
  if (found == containers_.end()) return;
  found->second->tree.remove();
  containers_.erase(found);
}

}  // namespace arca::guest
