#include <caf/actor_system.hpp>
#include <caf/sec.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "actors/core/ask.hpp"
#include "actors/core/context.hpp"
#include "actors/image/internal.hpp"
#include "actors/streams/byte_channel.hpp"

namespace arca {
namespace {

class image_pull : public tracked<image_pull_actor::base> {
 public:
  image_pull(caf::actor_config& config, engine_context& ctx, const std::string& name, std::shared_ptr<pull_job> job,
             std::shared_ptr<progress_output> output)
      : tracked(config, *ctx.actors, "/images/pull/" + name, "image_pull"),
        ctx_(ctx),
        job_(std::move(job)),
        output_(std::move(output)) {}

  behavior_type make_behavior() override {
    output_->on_last_gone([job = std::weak_ptr(job_)] {
      if (const auto j = job.lock()) j->cancel();
    });
    await_callback<bool>(
        this, *ctx_.port,
        [output = output_](std::function<void(bool)> done) { output->on_begun([done] { done(true); }); },
        [this](bool) { begun(); });
    offload(
        this, *ctx_.port, *ctx_.pool,
        [job = job_] {
          job->run();
          return true;
        },
        [this](bool) { quit(); });
    return {[this](const join_pull&) { return join(); }};
  }

  void on_exit() override {
    job_->cancel();
    for (auto& w : waiting_) w.promise.deliver(caf_error(errc::unavailable, "the engine is stopping"));
    waiting_.clear();
    job_.reset();  // it holds a handle of the manager
    output_.reset();
  }

 private:
  struct client {
    caf::typed_response_promise<stream_id> promise;
    std::shared_ptr<byte_channel> channel;
  };

  caf::result<stream_id> join() {
    client c{make_response_promise<stream_id>(), std::make_shared<byte_channel>()};
    auto promise = c.promise;
    if (!output_->add(c.channel)) {  // what it pulled was then; this client asks now
      c.promise.deliver(caf::make_error(caf::sec::request_receiver_down));
      return promise;
    }
    if (begun_)
      answer(c);
    else
      waiting_.push_back(std::move(c));
    return promise;
  }

  void begun() {
    begun_ = true;
    for (auto& c : waiting_) answer(c);
    waiting_.clear();
  }

  void answer(client& c) {
    if (output_->failure().code() != errc::none) {
      c.promise.deliver(to_caf(output_->failure()));
      return;
    }
    stream s;
    s.output = c.channel;
    c.promise.deliver(ctx_.streams->put(std::move(s)));
  }

  engine_context& ctx_;
  std::shared_ptr<pull_job> job_;
  std::shared_ptr<progress_output> output_;
  std::vector<client> waiting_;
  bool begun_ = false;
};
}  // namespace

image_pull_actor spawn_image_pull(caf::actor_system& system, engine_context& context, const std::string& name,
                                  std::shared_ptr<pull_job> job, std::shared_ptr<progress_output> output) {
  return system.spawn<image_pull>(std::ref(context), name, std::move(job), std::move(output));
}

catalog_access access_through(caf::actor_system& system, const image_manager_internal& manager) {
  static constexpr std::chrono::milliseconds no_deadline = std::chrono::hours(24);  // the manager answers or ends
  catalog_access out;
  out.known = [&system, manager](const registry::reference& name, const std::string& digest,
                                 const images::platform& p) -> result<std::string> {
    find_pulled q;
    q.name = name.string();
    q.digest = digest;
    q.platform = images::to_string(p);
    ARCA_TRY(found, ask_sync(system, manager, no_deadline, q));
    return found.id;
  };
  out.has = [&system, manager](const std::string& id) -> result<bool> {
    has_image q;
    q.id = id;
    ARCA_TRY(found, ask_sync(system, manager, no_deadline, q));
    return !found.id.empty();
  };
  out.record = [&system, manager](const arrived_image& image) -> result<bool> {
    record_pulled q;
    q.name = image.name.string();
    q.id = image.id;
    q.document = image.document;
    q.manifest_digest = image.manifest_digest;
    q.stored_manifest = image.stored_manifest;
    ARCA_TRY(done, ask_sync(system, manager, no_deadline, q));
    return done.updated;
  };
  out.pulled = [&system, manager](const registry::reference& name, const images::platform& p) -> result<std::string> {
    pull_succeeded q;
    q.name = name.string();
    q.platform = p.empty() ? std::string() : images::to_string(p);
    ARCA_TRY(warning, ask_sync(system, manager, no_deadline, q));
    return warning.text;
  };
  return out;
}

}  // namespace arca
