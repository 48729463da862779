// container_manager: owns names and the directory, supervises the container actors. Never does anything slow: a create
// is delegated to the new container's actor, which answers the caller itself.
#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "actors/container/internal.hpp"
#include "actors/container/top.hpp"
#include "actors/core/errors.hpp"
#include "actors/core/promise.hpp"
#include "actors/model/create.hpp"
#include "actors/model/list_filters.hpp"
#include "actors/model/summary.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/memory.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

/// A container actor that fails this often within the window is given up (its row stays, it shows as dead).
constexpr size_t restart_limit = 5;
constexpr auto restart_window = std::chrono::seconds(30);
constexpr auto trim_delay = std::chrono::seconds(3);
/// Docker's pace: an exec can be inspected for one to two of these after its exit.
constexpr auto exec_memory = std::chrono::minutes(5);

class container_manager : public tracked<container_manager_internal::base> {
 public:
  container_manager(caf::actor_config& config, container_services services)
      : tracked(config, *services.ctx.actors, "/containers", "container_manager"), s_(services) {
    set_down_handler([this](caf::down_msg& down) { child_down(down); });
    set_exception_handler([](std::exception_ptr& e) -> caf::error {
      try {
        std::rethrow_exception(e);
      } catch (const std::exception& what) {
        return caf_error(errc::internal, what.what());
      }
    });
  }

  behavior_type make_behavior() override {
    forget_execs_later();
    return {
        [this](const create_container& request) { return create(request); },
        [this](const prune_containers& request) { return prune(request); },
        [this](const recover_containers&) { return recover(); },
        [this](const stop_all_containers& request) { return stop_all(request); },
        [this](const publish_container& p) -> caf::result<void> {
          s_.directory.set(s_.directory.get()->with(p.entry));
          return caf::unit;
        },
        [this](const reserve_name& request) { return reserve(request); },
        [this](const withdraw_container& request) -> caf::result<void> {
          withdraw(request.id);
          trim_later();
          return caf::unit;
        },
        [this](const trim_memory& t) {
          if (t.ticket == trim_ticket_) s_.ctx.pool->post(give_back_memory);
        },
        [this](const forget_execs&) {
          s_.execs.forget_exited();
          forget_execs_later();
        },
    };
  }

  void on_exit() override { children_.clear(); }

 private:
  struct child {
    container_internal handle;
    std::deque<std::chrono::steady_clock::time_point> failures;
  };

  caf::result<created_container> create(const create_container& request) {
    auto record = std::make_shared<model::container_record>();
    record->id = random_hex(32);
    record->created = now_nanos();
    return delegate(add_child(std::move(record)), request);
  }

  container_internal add_child(std::shared_ptr<const model::container_record> record) {
    const auto id = record->id;
    auto handle = spawn_container(system(), s_, this, std::move(record));
    monitor(handle);
    ids_by_address_[handle.address()] = id;
    children_[id].handle = handle;
    return handle;
  }

  caf::result<std::string> reserve(const reserve_name& request) {
    std::string name = request.name;
    for (int attempt = 0; request.name.empty() && (name.empty() || names_.count(name) != 0); ++attempt)
      name = model::random_container_name(attempt);
    if (const auto taken = names_.find(name); taken != names_.end() && taken->second != request.id)
      return to_caf(model::name_conflict(name, taken->second));
    std::erase_if(names_, [&](const auto& item) { return item.second == request.id; });
    names_[name] = request.id;
    return name;
  }

  void withdraw(const std::string& id) {
    std::erase_if(names_, [&](const auto& item) { return item.second == id; });
    s_.directory.set(s_.directory.get()->without(id));
    s_.execs.erase_container(id);
    if (const auto found = children_.find(id); found != children_.end()) {
      ids_by_address_.erase(found->second.handle.address());
      demonitor(found->second.handle.address());
      children_.erase(found);
    }
  }

  /// A container actor ended without withdrawing: it failed. Its row, machine, streams and clients are as they were; a
  /// new actor takes them up.
  void child_down(const caf::down_msg& down) {
    const auto known = ids_by_address_.find(down.source);
    if (known == ids_by_address_.end()) return;
    const std::string id = known->second;
    ids_by_address_.erase(known);
    auto& failed = children_[id];
    const auto now = std::chrono::steady_clock::now();
    while (!failed.failures.empty() && now - failed.failures.front() > restart_window) failed.failures.pop_front();
    failed.failures.push_back(now);
    log::error("container actor failed", log::kv("container", id), log::kv("reason", from_caf(down.reason).message()));
    const auto published = s_.directory.entry_of(id);
    if (!published || failed.failures.size() > restart_limit) {
      withdraw(id);
      return;
    }
    s_.ctx.actors->restarted("/containers/" + id.substr(0, 12));
    auto failures = std::move(failed.failures);
    auto handle = add_child(published->record);
    children_[id].failures = std::move(failures);
    resume_container resume;
    resume.daemon_start = false;
    request(handle, caf::infinite, resume).then([](bool) {}, [](caf::error&) { /* its own down message follows */ });
  }

  caf::result<void> recover() {
    auto promise = make_response_promise<void>();
    load_rows load;
    load.from = table::containers;
    request(s_.ctx.store, caf::infinite, load)
        .then([this, promise](const loaded_rows& loaded) mutable { take_up(loaded, promise); },
              [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
    return promise;
  }

  /// Everything is shown before anything is taken up, so that look-ups are right from the first request on; a request
  /// to a container waits in its mailbox until it has been.
  void take_up(const loaded_rows& loaded, caf::typed_response_promise<void> promise) {
    struct progress {
      size_t open = 1;
      sweep_machines adopted;
      reconcile_networks networks;
    };
    auto p = std::make_shared<progress>();
    auto finish = [this, p] {
      if (--p->open != 0) return;
      request(s_.ctx.machines, caf::infinite, p->adopted)
          .then([] {},
                [](caf::error& e) { log::warn("sweep of machines failed", log::kv("reason", from_caf(e).message())); });
      request(s_.ctx.networks, caf::infinite, p->networks)
          .then([] {},
                [](caf::error& e) { log::warn("networks not reconciled", log::kv("reason", from_caf(e).message())); });
    };
    std::vector<container_entry> entries;
    for (const auto& row : loaded.rows) {
      auto parsed = model::from_document(row.document);
      if (!parsed) {
        log::error("container row set aside", log::kv("container", row.key),
                   log::kv("reason", parsed.error().message()));
        continue;
      }
      container_entry entry;
      entry.record = std::make_shared<const model::container_record>(std::move(*parsed));
      entry.summary = std::make_shared<const std::string>(model::make_summary(*entry.record));
      names_[entry.record->name] = entry.record->id;
      auto handle = add_child(entry.record);
      entry.handle = handle;
      entries.push_back(std::move(entry));
      ++p->open;
      request(handle, caf::infinite, resume_container())
          .then(
              [p, id = entries.back().record->id, finish](bool adopted) {
                if (adopted) {
                  p->adopted.adopted.push_back(id);
                  p->networks.running.push_back(id);
                }
                finish();
              },
              [finish](caf::error&) { finish(); });
    }
    reconcile_volumes volumes;
    for (const auto& entry : entries) volumes.containers.push_back(entry.record->id);
    request(s_.ctx.volumes, caf::infinite, std::move(volumes))
        .then([] {},
              [](caf::error& e) { log::warn("volumes not reconciled", log::kv("reason", from_caf(e).message())); });
    s_.directory.set(directory::of(std::move(entries)));
    deliver_ok(promise);
    finish();
    trim_later();
  }

  /// What a start or many removals needed is given back once nothing of the kind has come for a while.
  void trim_later() {
    trim_memory later;
    later.ticket = ++trim_ticket_;
    delayed_send(this, trim_delay, std::move(later));
  }

  void forget_execs_later() { delayed_send(this, exec_memory, forget_execs()); }

  caf::result<json_document> prune(const prune_containers& request) {
    auto promise = make_response_promise<json_document>();
    auto filters = model::filters::parse(request.filters);
    auto valid = filters ? model::check_prune_filters(*filters) : fail(filters.error());
    if (!valid) {
      promise.deliver(to_caf(valid.error()));
      return promise;
    }
    std::vector<std::shared_ptr<const model::container_record>> wanted;
    const auto now = now_nanos();
    const auto all = s_.directory.get();
    for (const auto& [id, entry] : all->by_id())
      if (model::prune_matches(*entry.record, *filters, now)) wanted.push_back(entry.record);
    std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a->created > b->created; });
    prune_next(std::make_shared<pruning>(pruning{std::move(wanted), 0, {}, 0}), promise);
    return promise;
  }

  struct pruning {
    std::vector<std::shared_ptr<const model::container_record>> wanted;  // newest first, as Docker deletes them
    size_t next = 0;
    std::vector<std::string> deleted;
    int64_t reclaimed = 0;
  };

  void prune_next(const std::shared_ptr<pruning>& p, caf::typed_response_promise<json_document> promise) {
    if (p->next == p->wanted.size()) {
      nlohmann::json answer = {{"ContainersDeleted", nullptr}, {"SpaceReclaimed", p->reclaimed}};
      if (!p->deleted.empty()) answer["ContainersDeleted"] = p->deleted;
      publish_event event;
      event.type = "container";
      event.action = "prune";
      event.attributes = {{"reclaimed", std::to_string(p->reclaimed)}};
      send(s_.ctx.events, std::move(event));
      json_document document;
      document.text = answer.dump();
      promise.deliver(std::move(document));
      return;
    }
    const auto record = p->wanted[p->next++];
    offload(
        this, *s_.ctx.port, *s_.ctx.pool,
        [dir = s_.ctx.config.data_root + "/containers/" + record->id] { return measure(dir, {}).writable; },
        [this, p, promise, record](int64_t size) {
          const auto found = children_.find(record->id);
          if (found == children_.end()) {
            prune_next(p, promise);
            return;
          }
          request(found->second.handle, caf::infinite, remove_container())
              .then(
                  [this, p, promise, record, size] {
                    p->deleted.push_back(record->id);
                    p->reclaimed += size;
                    prune_next(p, promise);
                  },
                  [this, p, promise](caf::error&) { prune_next(p, promise); });
        });
  }

  caf::result<void> stop_all(const stop_all_containers& request) {
    auto promise = make_response_promise<void>();
    auto open = std::make_shared<size_t>(children_.size() + 1);
    auto finish = [open, promise]() mutable {
      if (--*open == 0) deliver_ok(promise);
    };
    stop_with_daemon stop;
    stop.timeout = request.timeout;
    for (auto& [id, c] : children_)
      this->request(c.handle, caf::infinite, stop)
          .then([finish]() mutable { finish(); }, [finish](caf::error&) mutable { finish(); });
    finish();
    return promise;
  }

  container_services s_;
  uint64_t trim_ticket_ = 0;
  std::unordered_map<std::string, std::string> names_;  // name → id
  std::unordered_map<std::string, child> children_;     // by id
  std::map<caf::actor_addr, std::string> ids_by_address_;
};

}  // namespace

container_manager_internal spawn_container_manager(caf::actor_system& system, container_services services) {
  return system.spawn<container_manager>(services);
}

}  // namespace arca
