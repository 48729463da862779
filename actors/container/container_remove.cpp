// Removal: `removing` → files → row → gone (flows.md "Order of truth"). A step that fails leaves the container `dead`,
// from which only another removal leads.
#include "actors/container/container.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"

namespace arca {

caf::result<void> container::remove(const remove_container& request) {
  if (request.link) return caf_error(errc::internal, "Conflict, cannot remove the default link name of the container");
  auto promise = make_response_promise<void>();
  try_remove(request, promise);
  return promise;
}

void container::try_remove(const remove_container& request, unit_promise promise) {
  const auto& cell = check(request.force ? stimulus::force_remove : stimulus::remove);
  switch (cell.decision) {
    case verdict::later:
      later_.push_back([this, request, promise] { try_remove(request, promise); });
      break;
    case verdict::go:
      if (cell.next == container_status::removing) {
        begin_remove(request.volumes, deliver(promise));
      } else {
        remove_after_exit_ = true;
        record_.stopped_by_user = true;
        record_.state.status = container_status::stopping;
        on_stopped_.push_back([this, volumes = request.volumes, finished = deliver(promise)](const caf::error&) {
          begin_remove(volumes, finished);
        });
        kill_now();
      }
      break;
    default:
      promise.deliver(to_caf(refusal(cell, record_)));
  }
}

void container::begin_remove(bool volumes, done finished) {
  if (record_.state.status == container_status::removing) {
    finished(to_caf(refusal(check(stimulus::remove), record_)));
    return;
  }
  ++timer_ticket_;
  record_.state.status = container_status::removing;
  record_.remove_volumes = volumes;
  auto failed = [this, finished](const error& why) {
    record_.state.status = container_status::dead;
    record_.state.error = why.message();
    log::error("removal failed", log::kv("container", record_.id), log::kv("reason", why.message()));
    save([why, finished](const caf::error&) { finished(to_caf(why)); });
  };
  auto forget = [this, finished, failed] {
    row_change row;
    row.in = table::containers;
    row.erase = true;
    row.key = record_.id;
    commit_rows commit;
    commit.changes.push_back(std::move(row));
    request(s_.ctx.store, caf::infinite, std::move(commit))
        .then(
            [this, finished] {
              withdraw_container w;
              w.id = record_.id;
              request(manager_, caf::infinite, std::move(w))
                  .then(
                      [this, finished] {
                        event("destroy");
                        answer_waiters({"not-running", "next-exit", "removed"});
                        finished({});
                        quit();
                      },
                      [finished](caf::error& e) { finished(std::move(e)); });
            },
            [failed](caf::error& e) { failed(from_caf(e)); });
  };
  auto release = [this, volumes, forget] {
    release_image image;
    image.lease_owner = record_.id;
    request(s_.ctx.images, caf::infinite, std::move(image))
        .then([] {}, [](caf::error&) { /* leases are checked at start */ });
    if (record_.mounts.empty()) {
      forget();
      return;
    }
    release_volumes v;
    v.container_id = record_.id;
    v.remove_anonymous = volumes;
    request(s_.ctx.volumes, caf::infinite, std::move(v))
        .then([forget] { forget(); }, [forget](caf::error&) { forget(); });
  };
  auto files = [this, release, failed] {
    offload(
        this, *s_.ctx.port, *s_.ctx.pool, [dir = container_dir()] { return fs::remove_tree(dir); },
        [release, failed](const result<void>& removed) {
          failpoint::reached("container-folder-removed");
          if (removed)
            release();
          else
            failed(removed.error());
        });
  };
  save([this, files](const caf::error&) {
    io_->abandon();
    s_.ctx.processes->erase(record_.id, "init");
    end_unsaved_machine(files);
  });
}

/// A machine that keeps an exit keeps the root file system too: files that are deleted under it give no space back.
void container::end_unsaved_machine(std::function<void()> then) {
  if (!unsaved_exit_) return then();
  auto machine = std::exchange(unsaved_exit_, nullptr);
  await_callback<bool>(
      this, *s_.ctx.port,
      [machine](std::function<void(bool)> ended) { machine->attach_functor([ended] { ended(true); }); },
      [then = std::move(then)](bool) { then(); });
  acknowledge_exit_of(machine);
}

}  // namespace arca
