#include "actors/store/state_store.hpp"

#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "actors/core/errors.hpp"
#include "actors/core/promise.hpp"

namespace arca {

std::string to_string(table t) {
  return std::string(store::to_string(static_cast<store::table>(t)));
}

/// To itself, behind the commits that are already in the mailbox.
struct flush_commits {
  ARCA_MESSAGE(flush_commits)
};
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_store_internal, caf::first_custom_type_id + 270)
CAF_ADD_TYPE_ID(arca_store_internal, (arca::flush_commits))
CAF_END_TYPE_ID_BLOCK(arca_store_internal)

namespace arca {
namespace {
using state_store_internal = state_store_actor::extend<caf::reacts_to<flush_commits>>;

class state_store : public tracked<state_store_internal::base> {
 public:
  state_store(caf::actor_config& config, engine_context& ctx, std::shared_ptr<store::state_db> db)
      : tracked(config, *ctx.actors, "/store", "state_store"), db_(std::move(db)) {}

  behavior_type make_behavior() override {
    return {
        [this](const commit_rows& request) {
          auto promise = make_response_promise<void>();
          store::batch batch;
          batch.durable = request.durable;
          for (const auto& change : request.changes)
            batch.changes.push_back(
                {static_cast<store::table>(change.in), change.erase, change.key, change.unique, change.document});
          // Whatever is in the mailbox before the flush message goes into the same transaction.
          if (batches_.empty()) send(this, flush_commits());
          batches_.push_back(std::move(batch));
          promises_.push_back(promise);
          return promise;
        },
        [this](const load_rows& request) -> caf::result<loaded_rows> {
          flush();
          auto rows = db_->load(static_cast<store::table>(request.from));
          if (!rows) return to_caf(rows.error());
          loaded_rows answer;
          answer.rows.reserve(rows->size());
          for (auto& row : *rows) {
            stored_row r;
            r.key = std::move(row.key);
            r.unique = std::move(row.unique);
            r.document = std::move(row.document);
            answer.rows.push_back(std::move(r));
          }
          return answer;
        },
        [this](const flush_commits&) { flush(); },
    };
  }

  void on_exit() override { flush(); }

 private:
  void flush() {
    if (batches_.empty()) return;
    const auto results = db_->commit(batches_);
    auto promises = std::move(promises_);
    batches_.clear();
    promises_.clear();
    for (size_t i = 0; i < promises.size(); ++i) {
      if (results[i])
        deliver_ok(promises[i]);
      else
        promises[i].deliver(to_caf(results[i].error()));
    }
  }

  std::shared_ptr<store::state_db> db_;
  std::vector<store::batch> batches_;
  std::vector<caf::typed_response_promise<void>> promises_;
};
}  // namespace

state_store_actor spawn_state_store(caf::actor_system& system, engine_context& ctx, store::state_db db) {
  return system.spawn<state_store, caf::detached>(ctx, std::make_shared<store::state_db>(std::move(db)));
}

}  // namespace arca
