// Start, exit, restart policy (flows.md "One start, step by step" and "Order of truth").
#include <algorithm>

#include "actors/container/container.hpp"
#include "actors/container/restart_policy.hpp"
#include "actors/model/networks.hpp"
#include "actors/model/ports.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

/// Docker's exit codes of a start that failed: 127 not found, 126 not executable, 128 anything else.
int start_failure_code(const error& why) {
  const auto text = lower(why.message());
  const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  if (why.code() != errc::invalid_argument) return 128;
  if (has("permission denied")) return 126;
  if (has("executable file not found") || has("no such file or directory") || has("not a directory")) return 127;
  return 128;
}

std::vector<port_binding> wanted_ports(const model::container_record& r) {
  std::vector<port_binding> all;
  for (const auto& request : model::port_requests(r)) {
    port_binding b;
    b.protocol = request.protocol;
    b.container_port = request.container_port;
    b.host_ip = request.host_ip;
    b.first = request.first;
    b.last = request.last;
    all.push_back(std::move(b));
  }
  return all;
}

nlohmann::json shown_ports(const model::container_record& r, const endpoint& e) {
  std::vector<model::given_port> given;
  for (const auto& p : e.ports) given.push_back({p.protocol, p.container_port, p.host_ip, p.first});
  return model::ports_document(r, given);
}

}  // namespace

caf::result<void> container::start() {
  auto promise = make_response_promise<void>();
  try_start(promise);
  return promise;
}

void container::try_start(unit_promise promise) {
  const auto& cell = start_cell();
  switch (cell.decision) {
    case verdict::go:
      start_afresh(deliver(promise));
      break;
    case verdict::later:
      later_.push_back([this, promise] { try_start(promise); });
      break;
    default:
      promise.deliver(to_caf(refusal(cell, record_)));
  }
}

const transition& container::start_cell() const {
  if (remove_after_exit_) return lookup(container_status::removing, stimulus::start);
  return settling_ ? lookup(container_status::stopping, stimulus::start) : check(stimulus::start);
}

void container::start_afresh(done finished) {
  record_.restart_delay_ms = 0;
  record_.restart_count = 0;
  begin_start(std::move(finished));
}

void container::begin_start(done finished) {
  start_asked_ = std::chrono::steady_clock::now();
  auto log = log_settings();
  record_.state.status = container_status::starting;
  record_.state.error.clear();
  record_.state.oom_killed = false;
  record_.generation += 1;
  record_.stopped_by_user = false;
  ++timer_ticket_;
  if (!log) {
    launch_failed(log.error(), std::move(finished));
    return;
  }
  save_behind();
  if (record_.state.started_at != 0) io_->restart();
  allocate_networks(std::move(finished));
}

// Docker creates such a container, and so does Arca; it is the start that cannot be as asked for.
result<void> container::check_supported() const {
  ARCA_CHECK(model::check_network_company(record_.host_config, record_.networking));
  const bool image = std::ranges::any_of(record_.mounts, [](const auto& mount) { return mount.type == "image"; });
  return image ? result<void>(fail(errc::unsupported, "mounts of type \"image\" are not supported")) : result<void>();
}

void container::allocate_networks(done finished) {
  auto joined = find_donors();
  if (!joined) {
    launch_failed(joined.error(), std::move(finished));
    return;
  }
  if (auto possible = check_supported(); !possible) {
    launch_failed(possible.error(), std::move(finished));
    return;
  }
  const auto network = model::network_to_join(record_);
  for (const auto& other : model::networks_left_out(record_))
    log::warn("a container is on one network only: this one is left out", log::kv("network", other),
              log::kv("container", record_.id));
  if (starts_with(network, "container:")) {
    launch_in_machine({}, std::move(*joined), std::move(finished));
    return;
  }
  allocate_endpoint wanted;
  wanted.network = network;
  wanted.container_id = record_.id;
  wanted.container_name = record_.name;
  wanted.ports = wanted_ports(record_);
  if (const auto given = record_.networking.find(wanted.network);
      given != record_.networking.end() && given->is_object()) {
    if (const auto ipam = given->find("IPAMConfig"); ipam != given->end() && ipam->is_object())
      wanted.wanted_ip4 = ipam->value("IPv4Address", "");
    if (const auto mac = given->find("MacAddress"); mac != given->end() && mac->is_string())
      wanted.wanted_mac = mac->get<std::string>();
  }
  if (wanted.wanted_mac.empty()) wanted.wanted_mac = record_.config.value("MacAddress", std::string());
  request(s_.ctx.networks, caf::infinite, std::move(wanted))
      .then(
          [this, finished, network, joined = std::move(*joined)](const endpoint& e) {
            model::endpoint_settings shown;
            shown.network_name = e.network_name;
            shown.network_id = e.network_id;
            shown.endpoint_id = e.endpoint_id;
            shown.driver = e.driver;
            shown.mac = e.mac;
            shown.ip4 = e.ip4;
            shown.gateway4 = e.gateway4;
            shown.prefix4 = e.prefix4;
            if (const auto given = record_.networking.find(network); given != record_.networking.end())
              shown.config = *given;
            record_.endpoints = {std::move(shown)};
            record_.ports = shown_ports(record_, e);
            if (auto found = find_links(); !found) {
              launch_failed(found.error(), finished);
              return;
            }
            launch_in_machine({e}, joined, finished);
          },
          [this, finished](caf::error& e) {
            launch_failed(from_caf(e).wrap("failed to set up container networking"), finished);
          });
}

void container::keep_details(const std::string& text) {
  auto parsed = nlohmann::json::parse(text, nullptr, false);
  record_.details = parsed.is_object() ? std::move(parsed) : nlohmann::json();
}

/// Inspect goes on to show which networks the container belongs to, without what it had on them.
void container::forget_addresses() {
  record_.machine.clear();
  record_.details = nullptr;
  record_.ports = nullptr;
  for (auto& e : record_.endpoints) {
    e.endpoint_id.clear();
    e.mac.clear();
    e.ip4.clear();
    e.gateway4.clear();
    e.prefix4 = 0;
  }
}

void container::launch_in_machine(std::vector<endpoint> endpoints, std::vector<joined_namespace> joined,
                                  done finished) {
  make_machine make;
  make.container_id = record_.id;
  make.observer = caf::actor_cast<machine_observer_actor>(ctrl());
  request(s_.ctx.machines, caf::infinite, std::move(make))
      .then(
          [this, finished, endpoints = std::move(endpoints), joined = std::move(joined)](const machine_actor& machine) {
            machine_ = machine;
            launch_machine l;
            l.container_id = record_.id;
            l.generation = record_.generation;
            l.runtime = record_.runtime;
            l.record = model::to_document(record_);
            l.layers = record_.layers;
            l.container_dir = container_dir();
            l.endpoints = endpoints;
            l.asked = start_asked_.time_since_epoch() / std::chrono::nanoseconds(1);
            l.joined = joined;
            request(machine_, caf::infinite, std::move(l))
                .then([this, finished](const machine_started& started) { launched(started, finished); },
                      [this, finished](caf::error& e) { launch_failed(from_caf(e), finished); });
          },
          [this, finished](caf::error& e) { launch_failed(from_caf(e), finished); });
}

void container::launched(const machine_started& started, done finished) {
  if (check(stimulus::launched).decision != verdict::go) return;
  record_.state.status = container_status::running;
  record_.state.pid = started.pid;
  record_.state.started_at = started.started_at;
  record_.state.exit_code = 0;
  record_.start_wanted = false;
  record_.machine = started.machine;
  keep_details(started.details);
  save([this, finished, generation = record_.generation](caf::error e) {
    if (e) return undo_unsaved_start(std::move(e), generation, finished);
    volume_event("mount");
    network_event("connect");
    event("start");
    finished({});
    run_later();
  });
}

// A full disk: what no later daemon would know of must not run on. Its exit goes the way of any other.
void container::undo_unsaved_start(caf::error why, uint64_t generation, done finished) {
  log::error("start not saved", log::kv("container", record_.id), log::kv("reason", from_caf(why).message()));
  auto refuse = [why = std::move(why), finished = std::move(finished)](const caf::error&) { finished(why); };
  const auto status = record_.state.status;
  const bool runs = status == container_status::running || status == container_status::paused;
  if (!runs || record_.generation != generation) {
    refuse({});  // it has ended meanwhile, or is about to
    return run_later();
  }
  record_.stopped_by_user = true;  // no policy starts it again
  on_stopped_.push_back(refuse);
  kill_now();
}

void container::launch_failed(const error& why, done finished) {
  settling_ = true;
  record_.state.status = record_.state.started_at == 0 ? container_status::created : container_status::exited;
  record_.state.exit_code = start_failure_code(why);
  record_.state.error = why.message();
  record_.state.pid = 0;
  record_.start_wanted = false;
  record_.machine.clear();
  record_.details = nullptr;
  record_.endpoints.clear();
  record_.ports = nullptr;
  machine_ = nullptr;
  release_endpoints release;
  release.container_id = record_.id;
  request(s_.ctx.networks, caf::infinite, std::move(release))
      .then([] {}, [](caf::error&) { /* swept at the next start */ });
  save([this, why, finished](caf::error) {
    settling_ = false;
    finished(to_caf(why));
    answer_waiters({"not-running", "next-exit"});
    auto stopped = std::move(on_stopped_);
    on_stopped_.clear();
    for (auto& f : stopped) f({});
    if (!remove_after_exit_ && auto_remove()) begin_remove(true, [](const caf::error&) {});
    run_later();
  });
}

void container::on_machine_exited(const machine_exited& report) {
  if (report.process_id == "init") {
    init_exited(report);
    return;
  }
  if (s_.execs.container_of(report.process_id) != record_.id) return;
  if (const auto exec = s_.execs.find(report.process_id)) send(*exec, report);
}

void container::init_exited(const machine_exited& report) {
  if (report.generation != record_.generation || check(stimulus::init_exited).decision != verdict::go) return;
  const bool was_stopping = record_.state.status == container_status::stopping;
  ++timer_ticket_;
  settling_ = true;
  auto& state = record_.state;
  state.pid = 0;
  state.exit_code = report.exit_code;
  state.finished_at = report.at != 0 ? report.at : now_nanos();
  state.oom_killed = report.oom_killed;
  state.error = report.error;
  state.status = container_status::exited;
  unresponsive_ = false;
  forget_addresses();
  if (!record_.start_wanted && !remove_after_exit_ && !stops_with_daemon_) {
    if (const auto decision = next_restart(record_)) {
      state.status = container_status::restarting;
      record_.restart_delay_ms = decision->delay_ms;
    } else {
      record_.restart_delay_ms = 0;
    }
  }
  save([this, was_stopping](const caf::error& e) {
    if (!e) return after_exit(was_stopping);
    // A full disk: clients see the exit, the machine keeps it until it is saved, or until a later daemon asks.
    log::error("exit not saved", log::kv("container", record_.id), log::kv("reason", from_caf(e).message()));
    unsaved_exit_ = std::exchange(machine_, nullptr);
    save_exit_later();
    show([this, was_stopping](const caf::error&) { after_exit(was_stopping); });
  });
}

void container::save_exit_later() {
  timer_due timer;
  timer.kind = timer_kind::save_exit;
  delayed_send(this, std::chrono::seconds(2), std::move(timer));
}

void container::after_exit(bool was_stopping) {
  const auto& state = record_.state;
  network_event("disconnect");
  volume_event("unmount");
  if (was_stopping && !remove_after_exit_) event("stop");
  event("die",
        {{"exitCode", std::to_string(state.exit_code)},
         {"execDuration", std::to_string(std::max<int64_t>(0, state.finished_at - state.started_at) / 1'000'000'000)}});
  io_->finish();
  answer_waiters({"not-running", "next-exit"});  // also when a policy starts it again, as Docker Engine does
  if (machine_) acknowledge_exit_of(std::exchange(machine_, nullptr));
  release_endpoints release;
  release.container_id = record_.id;
  release.remove_devices = has_network_guests();
  request(s_.ctx.networks, caf::infinite, std::move(release))
      .then([] {}, [](caf::error&) { /* swept at the next start */ });
  settling_ = false;  // a start from here on asks for its address after the last one was given back
  auto stopped = std::move(on_stopped_);
  on_stopped_.clear();
  for (auto& f : stopped) f({});
  if (state.status == container_status::restarting) {
    schedule_restart();
  } else if (remove_after_exit_) {
    // rm -f goes on in its own continuation (container_remove.cpp)
  } else if (!record_.start_wanted && auto_remove()) {
    begin_remove(true, [](const caf::error&) {});
  }
  run_later();
}

void container::schedule_restart() {
  timer_due timer;
  timer.kind = timer_kind::restart;
  timer.ticket = ++timer_ticket_;
  delayed_send(this, std::chrono::milliseconds(record_.restart_delay_ms), std::move(timer));
}

}  // namespace arca
