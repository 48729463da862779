#include "actors/volume/volume_manager.hpp"

#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <deque>
#include <functional>
#include <set>

#include "actors/core/context.hpp"
#include "actors/core/promise.hpp"
#include "actors/volume/volume_filters.hpp"
#include "actors/volume/volume_record.hpp"
#include "actors/volume/volume_tree.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

class volume_manager : public tracked<volume_manager_actor::base> {
 public:
  volume_manager(caf::actor_config& config, engine_context& ctx)
      : tracked(config, *ctx.actors, "/volumes", "volume_manager"),
        ctx_(ctx),
        root_(ctx.config.data_root + "/volumes") {}

  behavior_type make_behavior() override {
    set_exception_handler([](std::exception_ptr&) { return caf_error(errc::internal, "volumes failed unexpectedly"); });
    load();
    return {
        [this](const acquire_volume& asked) { return acquire(asked); },
        [this](const release_volumes& gone) { return release({gone.container_id}, gone.remove_anonymous); },
        [this](const reconcile_volumes& asked) { return reconcile(asked); },
        [this](const create_volume& asked) { return create(asked); },
        [this](const list_volumes& asked) { return list(asked); },
        [this](const inspect_volume& asked) -> caf::result<json_document> {
          const auto found = volumes_.find(asked.name);
          if (found == volumes_.end()) return caf_error(errc::not_found, "get " + asked.name + ": no such volume");
          return document(volume_json(found->second, mountpoint(asked.name)));
        },
        [this](const remove_volume& asked) { return remove(asked); },
        [this](const prune_volumes& asked) { return prune(asked); },
    };
  }

  void on_exit() override {
    waiting_.clear();
    volumes_.clear();
  }

 private:
  using outcome = std::function<void(result<void>)>;

  // ---- start: rows and folders first, everything else waits (await)
  void load() {
    load_rows rows;
    rows.from = table::volumes;
    request(ctx_.store, caf::infinite, rows)
        .await(
            [this](const loaded_rows& loaded) {
              for (const auto& row : loaded.rows) {
                auto parsed = volume_from_document(row.document);
                if (parsed)
                  volumes_[parsed->name] = std::move(*parsed);
                else
                  log::error("volume row set aside", log::kv("volume", row.key),
                             log::kv("reason", parsed.error().message()));
              }
              scan();
            },
            [this](caf::error& e) { quit(e); });
  }

  void scan() {
    auto found = std::make_shared<result<volume_folders>>();
    async_request look;
    look.start =
        std::make_shared<async_start>([pool = ctx_.pool.get(), found, root = root_](std::function<void()> done) {
          pool->post([found, root, done = std::move(done)] {
            *found = scan_volumes(root);
            done();
          });
        });
    request(ctx_.port->handle(), caf::infinite, std::move(look))
        .await([this, found](const async_done&) { compare(*found); }, [this](caf::error& e) { quit(e); });
  }

  /// Rows and folders may differ after a crash, or after somebody has moved files about. Data are never thrown away.
  void compare(const result<volume_folders>& found) {
    if (!found) {
      log::error("volumes cannot be listed", log::kv("reason", found.error().message()));
      return;
    }
    std::set<std::string> present(found->names.begin(), found->names.end());
    present.insert(found->leftover.begin(), found->leftover.end());
    commit_rows changed;
    for (const auto& hidden : found->removing) {
      if (volumes_.count(hidden.name) != 0 && present.count(hidden.name) == 0) {
        changed.changes.push_back(erase_row(hidden.name));
        volumes_.erase(hidden.name);
      }
      log::info("interrupted removal of a volume is finished", log::kv("volume", hidden.name));
      discard(hidden.folder);
    }
    for (const auto& name : found->names) {
      if (volumes_.count(name) != 0) continue;
      log::warn("folder of an unknown volume with data is taken as a volume", log::kv("volume", name));
      volume_record v;
      v.name = name;
      v.created = now_nanos();
      changed.changes.push_back(put_row(v));
      volumes_[name] = std::move(v);
    }
    for (const auto& name : found->leftover)
      if (volumes_.count(name) == 0) discard(name);  // its creation had not been answered
    for (const auto& [name, v] : volumes_) {
      if (present.count(name) != 0) continue;
      log::error("folder of a volume is missing, an empty one is made", log::kv("volume", name));
      offload(
          this, *ctx_.port, *ctx_.pool, [root = root_, n = name] { return make_volume(root, n); },
          [](const result<void>& made) {
            if (!made) log::error("volume folder cannot be made", log::kv("reason", made.error().message()));
          });
    }
    for (const auto& [name, v] : volumes_)
      for (const auto& [container, unnamed] : v.users) used_by_[container].insert(name);
    if (!changed.changes.empty())
      request(ctx_.store, caf::infinite, std::move(changed)).await([] {}, [this](caf::error& e) { quit(e); });
  }

  // ---- one change of a volume at a time
  void when_free(const std::string& name, std::function<void()> work) {
    if (busy_.insert(name).second)
      work();
    else
      waiting_[name].push_back(std::move(work));
  }
  void set_free(const std::string& name) {
    busy_.erase(name);
    const auto next = waiting_.find(name);
    if (next == waiting_.end()) return;
    auto work = std::move(next->second.front());
    next->second.pop_front();
    if (next->second.empty()) waiting_.erase(next);
    busy_.insert(name);
    work();
  }

  std::string mountpoint(const std::string& name) const { return root_ + '/' + name + "/_data"; }

  static json_document document(std::string text) {
    json_document d;
    d.text = std::move(text);
    return d;
  }
  static row_change put_row(const volume_record& v) {
    row_change put;
    put.in = table::volumes;
    put.key = put.unique = v.name;
    put.document = to_document(v);
    return put;
  }
  static row_change erase_row(const std::string& name) {
    row_change change;
    change.in = table::volumes;
    change.erase = true;
    change.key = name;
    return change;
  }

  void event(std::string action, std::string name, std::map<std::string, std::string> attributes) {
    publish_event e;
    e.type = "volume";
    e.action = std::move(action);
    e.actor_id = std::move(name);
    e.attributes = std::move(attributes);
    send(ctx_.events, std::move(e));
  }

  void commit(row_change change, outcome done) {
    commit_rows batch;
    batch.changes.push_back(std::move(change));
    request(ctx_.store, caf::infinite, std::move(batch))
        .then([done] { done({}); }, [done](caf::error& e) { done(fail(from_caf(e))); });
  }

  void discard(std::string folder) {
    offload(
        this, *ctx_.port, *ctx_.pool, [path = root_ + '/' + std::move(folder)] { return fs::remove_tree(path); },
        [](const result<void>& gone) {
          if (!gone) log::warn("files of a removed volume remain", log::kv("reason", gone.error().message()));
        });
  }

  // ---- create and acquire
  /// Checks a request and completes it: the name where it has none.
  static result<volume_record> fresh(std::string name, const std::string& driver, std::optional<string_map> labels,
                                     std::optional<string_map> options) {
    volume_record v;
    v.created = now_nanos();
    v.labels = std::move(labels);
    v.options = std::move(options);
    if (name.empty()) {
      name = random_hex(32);
      if (!v.labels) v.labels.emplace();
      v.labels->emplace(anonymous_label, "");
    }
    v.name = std::move(name);
    const std::string context = "create " + v.name;
    if (!driver.empty() && driver != "local")
      return fail(errc::not_found, context + ": error looking up volume plugin " + driver + ": plugin " +
                                       go_quote(driver) + " not found");
    if (auto good = check_volume_name(v.name); !good) return fail(good.error().wrap(context));
    return v;
  }

  static std::optional<string_map> given(const string_map& map, bool even_if_empty) {
    if (map.empty() && !even_if_empty) return std::nullopt;
    return map;
  }

  /// Called while the volume is ours (when_free). Makes folder and row if it is not there; `user` is added to its
  /// users.
  void ensure(const volume_record& wanted, const std::string& user, bool unnamed,
              std::function<void(result<bool>)> done) {
    const auto found = volumes_.find(wanted.name);
    const bool known = found != volumes_.end();
    auto v = known ? found->second : wanted;
    const bool counted = user.empty() || v.users.count(user) != 0;
    if (!user.empty()) v.users.try_emplace(user, unnamed);
    if (known && counted) {
      done(false);
      return;
    }
    auto keep = [this, v, user, known, done](const result<void>& ok) {
      if (!ok) {
        done(fail(ok.error()));
        return;
      }
      commit(put_row(v), [this, v, user, known, done](const result<void>& stored) {
        if (!stored) {
          if (!known) discard(v.name);
          done(fail(stored.error()));
          return;
        }
        volumes_[v.name] = v;
        if (!user.empty()) used_by_[user].insert(v.name);
        if (!known) event("create", v.name, {{"driver", "local"}});
        done(!known);
      });
    };
    if (known) {
      keep({});
      return;
    }
    if (auto good = check_volume_options(v.options.value_or(string_map{})); !good) {
      done(fail(good.error().wrap("create " + v.name)));
      return;
    }
    offload(
        this, *ctx_.port, *ctx_.pool, [root = root_, name = v.name] { return make_volume(root, name); }, keep);
  }

  caf::result<acquired_volume> acquire(const acquire_volume& asked) {
    const bool unnamed = asked.name.empty() || asked.anonymous;
    auto wanted = fresh(asked.name, asked.driver, given(asked.labels, false), given(asked.options, false));
    if (!wanted) return to_caf(wanted.error());
    auto promise = make_response_promise<acquired_volume>();
    when_free(wanted->name, [this, promise, v = *wanted, user = asked.container_id, unnamed]() mutable {
      ensure(v, user, unnamed, [this, promise, name = v.name](const result<bool>& made) mutable {
        if (made) {
          acquired_volume answer;
          answer.name = name;
          answer.driver = "local";
          answer.mountpoint = mountpoint(name);
          answer.created = *made;
          promise.deliver(std::move(answer));
        } else {
          promise.deliver(to_caf(made.error()));
        }
        set_free(name);
      });
    });
    return promise;
  }

  caf::result<json_document> create(const create_volume& asked) {
    auto wanted =
        fresh(asked.name, asked.driver, given(asked.labels, asked.has_labels), given(asked.options, asked.has_options));
    if (!wanted) return to_caf(wanted.error());
    auto promise = make_response_promise<json_document>();
    when_free(wanted->name, [this, promise, v = *wanted]() mutable {
      ensure(v, "", false, [this, promise, name = v.name](const result<bool>& made) mutable {
        if (made)
          promise.deliver(document(volume_json(volumes_.at(name), mountpoint(name))));
        else
          promise.deliver(to_caf(made.error()));
        set_free(name);
      });
    });
    return promise;
  }

  // ---- remove
  /// Called while the volume is ours, is known and has no users. The files go behind the answer.
  void destroy(const std::string& name, outcome done) {
    offload(
        this, *ctx_.port, *ctx_.pool, [root = root_, name] { return hide_volume(root, name); },
        [this, name, done](const result<std::string>& hidden) {
          if (!hidden) {
            done(fail(hidden.error()));
            return;
          }
          commit(erase_row(name), [this, name, hidden = *hidden, done](const result<void>& erased) {
            if (!erased) {
              offload(
                  this, *ctx_.port, *ctx_.pool,
                  [root = root_, hidden, name] { return unhide_volume(root, hidden, name); },
                  [done, why = erased.error()](const result<void>&) { done(fail(why)); });
              return;
            }
            volumes_.erase(name);
            event("destroy", name, {{"driver", "local"}});
            if (!hidden.empty()) discard(hidden);
            done({});
          });
        });
  }

  caf::result<void> remove(const remove_volume& asked) {
    auto promise = make_response_promise<void>();
    when_free(asked.name, [this, promise, name = asked.name, force = asked.force]() mutable {
      auto finish = [this, promise, name](const result<void>& gone) mutable {
        if (gone)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(gone.error()));
        set_free(name);
      };
      const auto found = volumes_.find(name);
      if (found == volumes_.end()) {
        finish(force ? result<void>{} : fail(errc::not_found, "get " + name + ": no such volume"));
        return;
      }
      if (!found->second.users.empty()) {
        std::string users;
        for (const auto& [container, unnamed] : found->second.users) users += (users.empty() ? "" : ", ") + container;
        finish(fail(errc::conflict, "remove " + name + ": volume is in use - [" + users + ']'));
        return;
      }
      destroy(name, finish);
    });
    return promise;
  }

  // ---- release
  caf::result<void> release(const std::vector<std::string>& containers, bool remove_anonymous) {
    struct progress {
      size_t open = 1;
      result<void> first;
      caf::typed_response_promise<void> promise;
    };
    auto p = std::make_shared<progress>();
    p->promise = make_response_promise<void>();
    auto finish = [p](const result<void>& done) {
      if (!done && p->first) p->first = done;
      if (--p->open != 0) return;
      if (p->first)
        deliver_ok(p->promise);
      else
        p->promise.deliver(to_caf(p->first.error()));
    };
    for (const auto& container : containers) {
      const auto found = used_by_.find(container);
      if (found == used_by_.end()) continue;
      for (const auto& name : std::exchange(found->second, {})) {
        ++p->open;
        when_free(name, [this, name, container, remove_anonymous, finish] {
          release_one(name, container, remove_anonymous, [this, name, finish](const result<void>& done) {
            finish(done);
            set_free(name);
          });
        });
      }
      used_by_.erase(container);
    }
    finish({});
    return p->promise;
  }

  void release_one(const std::string& name, const std::string& container, bool remove_anonymous, outcome done) {
    const auto found = volumes_.find(name);
    if (found == volumes_.end() || found->second.users.count(container) == 0) {
      done({});
      return;
    }
    auto v = found->second;
    const bool unnamed = v.users.at(container);
    v.users.erase(container);
    if (remove_anonymous && unnamed && v.users.empty()) {
      destroy(name, std::move(done));
      return;
    }
    commit(put_row(v), [this, v, done](const result<void>& stored) {
      if (stored) volumes_[v.name] = v;
      done(stored);
    });
  }

  caf::result<void> reconcile(const reconcile_volumes& asked) {
    const std::set<std::string> there(asked.containers.begin(), asked.containers.end());
    std::vector<std::string> gone;
    for (const auto& [container, names] : used_by_)
      if (there.count(container) == 0) gone.push_back(container);
    for (const auto& container : gone)
      log::info("volumes of a container that is not there are given back", log::kv("container", container));
    return release(gone, true);
  }

  // ---- list and prune
  using sizes = std::map<std::string, int64_t>;
  void measure(std::vector<std::string> names, std::function<void(sizes)> then) {
    offload(
        this, *ctx_.port, *ctx_.pool,
        [root = root_, names = std::move(names)] {
          sizes found;
          for (const auto& name : names) found[name] = volume_size(root, name);
          return found;
        },
        std::move(then));
  }

  std::string list_text(const volume_filters& filters, const sizes* measured) const {
    std::string text = R"({"Volumes":[)";
    bool first = true;
    for (const auto& [name, v] : volumes_) {
      if (!filters.match(v)) continue;
      std::optional<volume_usage> usage;
      if (measured != nullptr) {
        const auto size = measured->find(name);
        if (size == measured->end()) continue;  // made meanwhile
        usage = volume_usage{size->second};
      }
      text += (first ? "" : ",") + volume_json(v, mountpoint(name), usage);
      first = false;
    }
    return text + R"(],"Warnings":null})";
  }

  caf::result<json_document> list(const list_volumes& asked) {
    auto filters = volume_filters::for_list(asked.filters);
    if (!filters) return to_caf(filters.error());
    if (!asked.usage) return document(list_text(*filters, nullptr));
    auto promise = make_response_promise<json_document>();
    measure(matching(*filters), [this, promise, f = *filters](const sizes& measured) mutable {
      promise.deliver(document(list_text(f, &measured)));
    });
    return promise;
  }

  std::vector<std::string> matching(const volume_filters& filters) const {
    std::vector<std::string> names;
    for (const auto& [name, v] : volumes_)
      if (filters.match(v)) names.push_back(name);
    return names;
  }

  struct pruning {
    size_t open = 1;
    int64_t reclaimed = 0;
    std::string deleted;
    caf::typed_response_promise<json_document> promise;
  };

  caf::result<json_document> prune(const prune_volumes& asked) {
    auto filters = volume_filters::for_prune(asked.filters);
    if (!filters) return to_caf(filters.error());
    auto p = std::make_shared<pruning>();
    p->promise = make_response_promise<json_document>();
    measure(matching(*filters), [this, p, f = *filters](const sizes& measured) {
      for (const auto& [name, size] : measured) {
        ++p->open;
        when_free(name, [this, p, f, name = name, size = size] { prune_one(*p, f, name, size, p); });
      }
      finish_prune(*p);
    });
    return p->promise;
  }

  void prune_one(pruning& state, const volume_filters& filters, const std::string& name, int64_t size,
                 const std::shared_ptr<pruning>& keep) {
    const auto found = volumes_.find(name);
    if (found == volumes_.end() || !filters.match(found->second)) {  // removed or in use since it was measured
      finish_prune(state);
      set_free(name);
      return;
    }
    destroy(name, [this, keep, name, size](const result<void>& gone) {
      if (gone) {
        keep->deleted += (keep->deleted.empty() ? "\"" : ",\"") + name + '"';
        keep->reclaimed += std::max<int64_t>(size, 0);
      } else {
        log::warn("volume not pruned", log::kv("volume", name), log::kv("reason", gone.error().message()));
      }
      finish_prune(*keep);
      set_free(name);
    });
  }

  void finish_prune(pruning& p) {
    if (--p.open != 0) return;
    event("prune", "", {{"reclaimed", std::to_string(p.reclaimed)}});
    p.promise.deliver(
        document(R"({"VolumesDeleted":[)" + p.deleted + R"(],"SpaceReclaimed":)" + std::to_string(p.reclaimed) + '}'));
  }

  engine_context& ctx_;
  std::string root_;
  std::map<std::string, volume_record> volumes_;
  std::map<std::string, std::set<std::string>> used_by_;  ///< volumes by container
  std::set<std::string> busy_;                            ///< a change of this volume is under way
  std::map<std::string, std::deque<std::function<void()>>> waiting_;
};
}  // namespace

volume_manager_actor spawn_volume_manager(caf::actor_system& system, engine_context& ctx) {
  return system.spawn<volume_manager>(ctx);
}

}  // namespace arca
