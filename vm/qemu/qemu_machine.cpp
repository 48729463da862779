#include "vm/qemu/qemu_machine.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/oci/json_access.hpp"
#include "vm/process.hpp"
#include "vm/qemu/boot_files.hpp"
#include "vm/qemu/qemu_process.hpp"
#include "vm/qemu/rehearsal.hpp"

namespace arca::vm {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr unsigned root_ports = 8;  ///< of a container: rootfs, shares, NIC
constexpr auto call_limit = 5s;
constexpr int idle_limit_ms = 2000;  ///< for one of the pool to answer: then a cold boot is quicker

int left_ms(clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - clock::now()).count();
  return static_cast<int>(std::max<int64_t>(1, left));
}

std::string random_bytes(size_t count) {
  std::string bytes(count, '\0');
  // getentropy fails for sizes above 256 only.
  if (getentropy(bytes.data(), bytes.size()) != 0) bytes.clear();
  return bytes;
}

/// Of an event of QEMU; nullptr when it is not about the machine's end. The guest chooses what it reports.
const char* what_it_means(const std::string& event, const std::string& reason) {
  if (event == "GUEST_PANICKED") return "its kernel panicked";
  if (event != "SHUTDOWN") return nullptr;
  // After a panic for which no device is there yet the kernel restarts.
  return reason == "guest-reset" ? "its kernel panicked or restarted" : "it has powered off";
}

std::string tail_of(const std::string& path, size_t limit) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!file || fstat(file.get(), &info) != 0) return {};
  std::string text(std::min(limit, static_cast<size_t>(info.st_size)), '\0');
  const auto n = pread(file.get(), text.data(), text.size(), info.st_size - static_cast<off_t>(text.size()));
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

qemu_machine::qemu_machine(qemu_backend& backend, machine_identity identity, machine_order order, guest_image guest)
    : backend_(backend),
      identity_(std::move(identity)),
      order_(std::move(order)),
      guest_(std::move(guest)),
      devices_(root_ports) {}

qemu_machine::qemu_machine(qemu_backend& backend, machine_identity identity)
    : backend_(backend), identity_(std::move(identity)) {}

qemu_machine::~qemu_machine() {
  if (!destroyed_) backend_.disown(identity_.dir, identity_.cgroup);
}

// ---- boot

result<void> qemu_machine::boot(int deadline_ms) {
  account_->begin(order_.asked);
  if (!wake_idle(deadline_ms)) ARCA_CHECK(boot_cold(deadline_ms));
  backend_.remember(identity_.dir, weak_from_this());
  return {};
}

result<void> qemu_machine::boot_cold(int deadline_ms) {
  auto since = clock::now();
  const auto turn = backend_.boots().wait();  // held until the end
  if (!turn) return fail(turn.error());
  account_->waited("queue", since, clock::now());
  stage("queue", since);
  since = clock::now();
  const auto kind = backend_.choose_accelerator();
  account_->waited("accelerator", since, clock::now());
  stage("accelerator", since);

  return boot_on(kind, deadline_ms);
}

result<void> qemu_machine::boot_on(accelerator kind, int deadline_ms) {
  const auto end = clock::now() + std::chrono::milliseconds(deadline_ms);
  ARCA_CHECK(prepare_folder(kind));
  auto since = clock::now();
  const auto booted = [&]() -> result<void> {
    ARCA_CHECK(start(kind));
    stage("spawn", since);
    since = clock::now();
    ARCA_CHECK(connect(left_ms(end)));
    stage("qemu", since);
    return greet(left_ms(end)).map([](auto&&) {});
  }();
  if (!booted) {
    const auto why = explained(booted.error());
    kill();
    return fail(why);
  }
  const std::lock_guard guard(devices_lock_);
  return save_record();
}

result<void> qemu_machine::prepare_folder(accelerator kind) {
  const auto dir = backend_.machines_dir() + '/' + random_hex(6);
  backend_.own(dir, {});
  identity_.dir = dir;
  if (mkdir(dir.c_str(), 0700) != 0) return fail_errno("mkdir " + dir);
  ARCA_TRY(lock, lock_machine(dir, 0));
  lock_file_ = std::move(lock);
  const auto size = machine_size_of(order_.memory, order_.nano_cpus, backend_.settings().size,
                                    std::max(1u, std::thread::hardware_concurrency()));
  record_.id = identity_.id;
  record_.members = {identity_.id};
  record_.cgroup = identity_.cgroup;
  record_.boot_id = identity_.boot_id;
  record_.secret = new_agent_secret();
  record_.guest = guest_.version;
  record_.accelerator = to_string(kind);
  record_.memory_mib = size.memory_mib;
  record_.cpus = size.cpus;
  // Before the process is: whatever happens from here on, a sweep finds its cgroup.
  const std::lock_guard guard(devices_lock_);
  ARCA_CHECK(save_record());
  failpoint::reached("machine-folder");
  return {};
}

result<void> qemu_machine::start(accelerator kind) {
  ARCA_TRY(members, cgroup_tree::host().create_leaf(identity_.cgroup));
  qemu_plan plan;
  plan.dir = identity_.dir;
  plan.kernel = order_.kernel_path.empty() ? guest_.kernel : order_.kernel_path;
  plan.initrd = order_.initrd_path.empty() ? guest_.initrd : order_.initrd_path;
  for (const auto& fd : members) plan.cgroups.push_back(fd.get());
  boot_files_ = {plan.kernel, plan.initrd};
  plan.settings.program = backend_.settings().qemu;
  plan.settings.kind = kind;
  plan.settings.memory_mib = record_.memory_mib;
  plan.settings.cpus = record_.cpus;
  plan.settings.root_ports = root_ports;
  plan.settings.tsc_khz = backend_.tsc_khz();
  plan.settings.more_kernel_arguments = guest_.kernel_arguments;
  if (!order_.kernel_arguments.empty()) {
    auto& words = plan.settings.more_kernel_arguments;
    words += (words.empty() ? "" : " ") + order_.kernel_arguments;
  }
  ARCA_TRY(process, start_qemu(plan));
  qemu_ = std::move(process);
  identity_.pid = qemu_.pid;
  identity_.start_time = qemu_.start_time;
  for (const auto* log : {machine_file::console, machine_file::qemu_log})
    backend_.logs().add(identity_.dir + '/' + log);
  const std::lock_guard guard(devices_lock_);
  failpoint::reached("qemu");
  record_.processes.push_back({"qemu", qemu_.pid, qemu_.start_time});
  return save_record();
}

result<void> qemu_machine::connect(int deadline_ms) {
  const auto end = clock::now() + std::chrono::milliseconds(deadline_ms);
  auto socket = connect_to(identity_.dir + '/' + machine_file::qmp_socket, deadline_ms);
  if (!socket)  // nobody listens any more
    return wait_for_end(qemu_.pidfd.get(), 200) ? fail(errc::unavailable, "QEMU has ended") : fail(socket.error());
  qmp_ = qmp_client::over(
      backend_.loop(), std::move(*socket),
      [reason = end_reason_](const std::string& event, const nlohmann::json& data) {
        const char* text = what_it_means(event, oci::text(data, "reason"));
        const std::lock_guard guard(reason->lock);
        if (text != nullptr && reason->text.empty()) reason->text = text;
      },
      account_);
  const waiting noted(account_.get(), "QEMU's start");
  return qmp_->wait_ready(std::chrono::milliseconds(left_ms(end)));
}

result<agent_hello> qemu_machine::greet(int deadline_ms) {
  const auto end = clock::now() + std::chrono::milliseconds(deadline_ms);
  auto since = clock::now();
  ARCA_TRY(socket, connect_agent(identity_.dir + '/' + machine_file::agent_socket, record_.secret, deadline_ms));
  account_->waited("boot", since, clock::now());
  stage("boot", since);
  since = clock::now();
  client_ = agent_client::over(std::move(socket), account_);
  ARCA_TRY(hello, say_hello(left_ms(end)));
  stage("hello", since);
  return std::move(hello);
}

result<agent_hello> qemu_machine::say_hello(int deadline_ms) {
  agent_greeting greeting;
  greeting.generation = backend_.generation();
  greeting.random_seed = random_bytes(32);
  greeting.now = now_nanos();
  return wait_for<agent_hello>(
      [&](auto done) { client_->hello(greeting, std::chrono::milliseconds(deadline_ms), std::move(done)); });
}

// ---- the pool

result<void> qemu_machine::boot_idle(int deadline_ms) {
  ARCA_CHECK(boot_cold(deadline_ms));
  if (auto rehearsed = rehearse_start(*client_); !rehearsed)
    log::warn("an idle virtual machine starts its container slowly", log::kv("reason", rehearsed.error().message()));
  ARCA_CHECK(stop());
  release_boot_files();
  return {};
}

bool qemu_machine::wake_idle(int deadline_ms) {
  const auto since = clock::now();
  const auto idle = backend_.take_idle(order_, guest_.version);
  if (!idle) return false;
  idle->account_->begin(order_.asked);
  const auto woken = [&]() -> result<void> {
    ARCA_CHECK(idle->qmp_->call("cont", json::object(), call_limit));
    // A seed of its own, and the time of now.
    return idle->say_hello(std::min(deadline_ms, idle_limit_ms)).map([](auto&&) {});
  }();
  if (!woken) {
    log::warn("idle virtual machine does not answer", log::kv("reason", woken.error().message()));
    idle->destroy();
    return false;
  }
  idle->destroyed_ = true;  // folder and group are this one's from here on
  backend_.disown({}, identity_.cgroup);
  identity_.dir = idle->identity_.dir;
  identity_.cgroup = idle->identity_.cgroup;
  identity_.pid = idle->identity_.pid;
  identity_.start_time = idle->identity_.start_time;
  record_ = std::move(idle->record_);
  record_.id = identity_.id;
  record_.members = {identity_.id};
  record_.stages.clear();
  lock_file_ = std::move(idle->lock_file_);
  qemu_ = std::move(idle->qemu_);
  qmp_ = std::move(idle->qmp_);
  client_ = std::move(idle->client_);
  devices_ = std::move(idle->devices_);
  end_reason_ = std::move(idle->end_reason_);
  account_ = std::move(idle->account_);
  stage("pool", since);
  return true;
}

error qemu_machine::explained(const error& failure) const {
  std::string text = failure.message();
  {
    const std::lock_guard guard(end_reason_->lock);
    if (!end_reason_->text.empty()) text += ": " + end_reason_->text;
  }
  // Its socket closes some milliseconds before the process is gone.
  if (failure.code() != errc::timeout && qemu_.pidfd && wait_for_end(qemu_.pidfd.get(), 200))
    if (const auto words = last_line(tail_of(identity_.dir + '/' + machine_file::qemu_log, 1000)); !words.empty())
      text += ": " + words;
  return {failure.code(), "the virtual machine did not start: " + text};
}

// ---- adoption

result<agent_hello> qemu_machine::adopt(int deadline_ms) {
  const std::lock_guard turn(running_lock_);
  if (lost_) return fail(*lost_);
  const auto end = clock::now() + std::chrono::milliseconds(deadline_ms);
  auto hello = [&]() -> result<agent_hello> {
    const bool is_new = !client_;
    if (is_new) ARCA_CHECK(take_over(deadline_ms));
    // A stopped machine's agent cannot answer. It runs for the handshake, some milliseconds, and is stopped again.
    const bool was_stopped = paused_;
    if (was_stopped) ARCA_CHECK(qmp_->call("cont", json::object(), call_limit));
    auto said = is_new ? greet(left_ms(end)) : say_hello(left_ms(end));
    if (is_new && said) resume_relays();
    if (was_stopped) ARCA_CHECK(stop());
    if (said)
      for (auto& p : said->processes) p.paused = p.paused || was_stopped;
    return said;
  }();
  if (!hello) lost_ = hello.error();
  return hello;
}

/// All but the agent, which cannot answer when the machine is stopped.
result<void> qemu_machine::take_over(int deadline_ms) {
  const auto gone = [](const std::string& why) { return fail(errc::gone, "the virtual machine has ended: " + why); };
  const auto end = clock::now() + std::chrono::milliseconds(deadline_ms);
  if (identity_.boot_id != host_boot_id()) return gone("the host was restarted");
  auto record = read_machine_record(identity_.dir);
  if (!record) return gone(record.error().message());
  ARCA_TRY(lock, lock_machine(identity_.dir, left_ms(end)));
  lock_file_ = std::move(lock);
  {
    const std::lock_guard guard(devices_lock_);
    record_ = std::move(*record);
    started_ = true;
    devices_ = device_plan::from_json(record_.devices);
    share_servers_.clear();
  }
  auto process = open_process(identity_.pid, identity_.start_time);
  if (!process) return gone(process.error().message());
  qemu_.pid = static_cast<pid_t>(identity_.pid);
  qemu_.start_time = identity_.start_time;
  qemu_.pidfd = std::move(*process);
  ARCA_CHECK(reopen_processes());
  ARCA_CHECK(connect(left_ms(end)));
  for (const auto* log : {machine_file::console, machine_file::qemu_log})
    backend_.logs().add(identity_.dir + '/' + log);
  ARCA_TRY(status, qmp_->call("query-status", json::object(), call_limit));
  paused_ = status.is_object() && status.contains("status") && status["status"] == "paused";
  return {};
}

result<void> qemu_machine::reopen_processes() {
  const std::lock_guard guard(devices_lock_);
  for (const auto& p : record_.processes) {
    if (p.name == "qemu") continue;
    auto server = open_process(p.pid, p.start_time);
    if (!server) {  // the guest hangs in whatever it reads from there
      send_signal(qemu_.pidfd.get(), SIGKILL);
      return fail(errc::gone, "the virtual machine has ended: a server of its files did: " + server.error().message());
    }
    share_servers_.push_back(
        {p.name.substr(sizeof "virtiofsd-" - 1), {static_cast<pid_t>(p.pid), p.start_time, std::move(*server)}});
    watch_share(share_servers_.back());
  }
  return {};
}

// ---- while it runs

std::shared_ptr<agent_client> qemu_machine::client_for(const std::string& owner) const {
  return client_->for_container(owner);
}

result<void> qemu_machine::stop() {
  ARCA_CHECK(qmp_->call("stop", json::object(), call_limit));
  paused_ = true;
  return {};
}

result<void> qemu_machine::go_on() {
  ARCA_CHECK(qmp_->call("cont", json::object(), call_limit));
  paused_ = false;
  // The guest's clock stood still. One that cannot be set is no reason to say that the machine does not run.
  const auto set = wait_for<void>([&](auto done) { client_->set_time(now_nanos(), call_limit, std::move(done)); });
  if (!set)
    log::warn("the clock of a resumed virtual machine is late", log::kv("container", identity_.id),
              log::kv("reason", set.error().message()));
  return {};
}

result<void> qemu_machine::pause(const std::string& owner) {
  const std::lock_guard turn(running_lock_);
  bool alone = false;
  {
    const std::lock_guard guard(devices_lock_);
    alone = record_.members.size() < 2;
  }
  if (alone) return stop();
  return wait_for<void>([&](auto done) { client_->pause(owner, call_limit, std::move(done)); });
}

result<void> qemu_machine::resume(const std::string& owner) {
  const std::lock_guard turn(running_lock_);
  if (paused_) return go_on();
  return wait_for<void>([&](auto done) { client_->resume(owner, call_limit, std::move(done)); });
}

std::string qemu_machine::boot_log(size_t limit) const {
  std::string text;
  for (const auto* log : {machine_file::qemu_log, machine_file::console}) {
    const auto part = tail_of(identity_.dir + '/' + log, limit);
    if (!text.empty() && !part.empty()) text += '\n';
    text += part;
  }
  return text.size() > limit ? text.substr(text.size() - limit) : text;
}

machine_description qemu_machine::describe() const {
  const std::lock_guard guard(devices_lock_);
  return {record_.accelerator, record_.guest,         record_.memory_mib, record_.cpus,
          record_.stages,      record_.engine_stages, record_.timeline};
}

void qemu_machine::start_is_over(const stage_times& engine_stages) {
  const std::lock_guard guard(devices_lock_);
  if (std::exchange(started_, true)) return;
  account_->close();
  record_.engine_stages = engine_stages;
  record_.timeline = account_->steps();
}

void qemu_machine::release_boot_files() {
  const auto files = std::exchange(boot_files_, {});
  if (files.empty()) return;
  if (auto done = vm::release_boot_files(qemu_, files); !done)
    log::debug("a virtual machine keeps the files it booted from", log::kv("reason", done.error().message()));
}

void qemu_machine::keep_start() {
  {
    const std::lock_guard guard(devices_lock_);
    if (destroyed_) return;
    if (auto saved = save_record(); !saved)
      log::debug("stages are not kept", log::kv("reason", saved.error().message()));
  }
  release_boot_files();
}

void qemu_machine::stage(const char* name, clock::time_point since) {
  const auto took = std::chrono::duration<double, std::milli>(clock::now() - since).count();
  const std::lock_guard guard(devices_lock_);
  if (started_) return;  // adopted, or a device that came later
  record_.stages.emplace_back(name, took);
  if (!record_.processes.empty()) (void)save_record();
}

result<void> qemu_machine::save_record() {
  record_.devices = devices_.to_json();
  return write_machine_record(identity_.dir, record_);
}

}  // namespace arca::vm
