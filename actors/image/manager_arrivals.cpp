// Pull, load, import and save: long work in children and on the pool, its beginning and its end here.
#include <algorithm>
#include <set>

#include "actors/image/image_changes.hpp"
#include "actors/image/image_transfer.hpp"
#include "actors/image/manager_state.hpp"
#include "actors/model/info.hpp"
#include "actors/streams/byte_channel.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/memory.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
constexpr size_t most_arrivals = 8;  // at once, so that pulls leave the pool to others
constexpr size_t most_saves = 8;     // the same; each waits for its client

registry::client_options client_options_of(const settings& config) {
  registry::client_options out;
  out.registries = config.registries;
  out.user_agent = "arca (linux)";
  return out;
}

// The name that POST /images/create means by fromImage and tag.
result<registry::reference> pulled_name(const pull_image& q) {
  auto text = q.reference;
  if (ends_with(text, ":")) text.pop_back();
  ARCA_TRY(name, registry::reference::parse(text));
  if (!q.tag.empty()) {
    if (registry::parse_digest(q.tag)) {
      ARCA_TRY(exact, name.trimmed().with_digest(q.tag));
      name = exact;
    } else {
      ARCA_TRY(tagged, name.with_tag(q.tag));
      name = tagged;
    }
  }
  if (name.familiar_name() == "scratch") return fail(errc::forbidden, "'scratch' is a reserved name");
  return name;
}

void delete_folders(const std::vector<std::string>& folders) {
  for (const auto& folder : folders)
    if (auto done = fs::remove_tree(folder); !done)
      log::warn("files of a layer not removed", log::kv("folder", folder), log::kv("error", done.error().message()));
}

std::string line_of(const char* key, const std::string& text) {
  return nlohmann::json{{key, text}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\r\n";
}
}  // namespace

void image_manager::arrive(std::function<void()> begin) {
  if (sweeping_ || arrivals_ >= most_arrivals) {
    waiting_arrivals_.push_back(std::move(begin));
    return;
  }
  ++arrivals_;
  begin();
}

void image_manager::arrival_ended() {
  --arrivals_;
  sweep_wanted_ = true;  // a pull that failed may have left layers
  while (!waiting_arrivals_.empty() && arrivals_ < most_arrivals) {
    auto begin = std::move(waiting_arrivals_.front());
    waiting_arrivals_.pop_front();
    ++arrivals_;
    begin();
  }
  if (arrivals_ > 0) return;
  make_durable();
  sweep();
}

// Nobody waits for the disk: what a power cut catches before is noticed at the next start and set aside.
void image_manager::make_durable() {
  sync_wanted_ = true;
  if (syncing_) return;
  sync_wanted_ = false;
  syncing_ = true;
  offload(
      this, *ctx_.port, *ctx_.pool,
      [layers = layers_] {
        give_back_memory();  // unpacking is over
        return layers->sync();
      },
      [this](const result<void>& synced) {
        syncing_ = false;
        if (!synced) log::warn("layers are not on disk yet", log::kv("error", synced.error().message()));
        if (sync_wanted_) make_durable();
      });
}

// Removes layers and documents that no image, no container and no save needs. Not while something arrives: what is
// unused now may be part of it.
void image_manager::sweep() {
  sweep_wanted_ = true;
  if (sweeping_ || arrivals_ > 0 || committing_) return;
  sweep_wanted_ = false;
  auto used = catalog_.used_layers();
  used.insert(saved_.begin(), saved_.end());
  std::vector<std::string> dead_layers, dead_blobs;
  for (const auto& layer : layers_->list())
    if (used.count(layer.chain_id) == 0) dead_layers.push_back(layer.chain_id);
  std::set<std::string> documents(saved_.begin(), saved_.end());
  for (const auto& [id, image] : catalog_.images()) {
    documents.insert(id);
    if (!image->manifest_digest.empty()) documents.insert(image->manifest_digest);
  }
  for (const auto& blob : blobs_->list())
    if (documents.count(blob) == 0) dead_blobs.push_back(blob);
  if (dead_layers.empty() && dead_blobs.empty()) return;
  sweeping_ = true;
  offload(
      this, *ctx_.port, *ctx_.pool,
      [layers = layers_, blobs = blobs_, dead_layers, dead_blobs, pool = ctx_.pool.get()] {
        std::vector<std::string> folders;
        for (const auto& chain : dead_layers)
          if (auto aside = layers->withdraw(chain))
            folders.push_back(std::move(*aside));
          else
            log::warn("layer not removed", log::kv("layer", chain), log::kv("error", aside.error().message()));
        pool->post([folders] { delete_folders(folders); });  // what arrives next need not wait for that
        for (const auto& blob : dead_blobs)
          if (auto done = blobs->remove(blob); !done)
            log::warn("blob not removed", log::kv("blob", blob), log::kv("error", done.error().message()));
        return true;
      },
      [this](bool) {
        sweeping_ = false;
        auto waiting = std::exchange(waiting_arrivals_, {});
        for (auto& begin : waiting) arrive(std::move(begin));
        if (sweep_wanted_) sweep();
      });
}

// ---- pull

caf::result<stream_id> image_manager::pull(const pull_image& q) {
  auto name = pulled_name(q);
  if (!name) return to_caf(name.error());
  auto platform = read_platform(q.platform);
  if (!platform) return to_caf(platform.error());
  pull_request request;
  request.name = *name;
  request.platform = *platform;
  request.who = registry::parse_credentials(q.registry_auth);
  const auto& w = request.who;
  const auto key = name->string() + ' ' + images::to_string(*platform) + ' ' +
                   digest_of(w.username + '\n' + w.password + '\n' + w.identity_token + '\n' + w.registry_token);
  auto promise = make_response_promise<stream_id>();
  join(key, request, promise);
  return promise;
}

void image_manager::join(const std::string& key, const pull_request& wanted,
                         caf::typed_response_promise<stream_id> promise) {
  const auto running = pulls_.find(key);
  if (running == pulls_.end()) {
    arrive([this, key, wanted, promise] {
      if (pulls_.count(key) != 0) {  // begun by another client while this one waited
        arrival_ended();
        join(key, wanted, promise);
        return;
      }
      auto output = std::make_shared<progress_output>();
      const auto self = caf::actor_cast<image_manager_internal>(this);
      auto job = std::make_shared<pull_job>(wanted, client_options_of(ctx_.config), layers_, blobs_,
                                            access_through(system(), self), output);
      auto handle = spawn_image_pull(system(), ctx_, wanted.name.familiar(), std::move(job), std::move(output));
      monitor(handle);
      pull_keys_.emplace(handle.address(), key);
      pulls_.emplace(key, handle);
      join(key, wanted, promise);
    });
    return;
  }
  request(running->second, caf::infinite, join_pull())
      .then([promise](stream_id id) mutable { promise.deliver(id); },
            [this, key, wanted, promise, handle = running->second](caf::error& e) mutable {
              if (e.category() == caf::atom("arca")) {
                promise.deliver(e);
                return;
              }
              // It ended between our look and the message: a new one.
              if (const auto found = pulls_.find(key); found != pulls_.end() && found->second == handle)
                pulls_.erase(found);
              join(key, wanted, promise);
            });
}

// ---- load

std::optional<stream> image_manager::take_input(stream_id id) {
  auto s = id == 0 ? std::optional<stream>() : ctx_.streams->take(id);
  if (s && s->input == nullptr) return std::nullopt;
  return s;
}

caf::result<stream_id> image_manager::load(const load_images& q) {
  auto platform = read_platform_json(q.platform);
  if (!platform) return to_caf(platform.error());
  auto in = take_input(q.input);
  if (!in) return caf_error(errc::invalid_argument, "there is no archive to load");
  auto input = in->input;
  auto channel = std::make_shared<byte_channel>();
  auto output = std::make_shared<progress_output>();
  output->on_last_gone([input] { input->abort(); });
  output->add(channel);
  stream s;
  s.output = channel;
  const auto id = ctx_.streams->put(std::move(s));
  arrive([this, input, output, platform = *platform, quiet = q.quiet] {
    offload(
        this, *ctx_.port, *ctx_.pool,
        [layers = layers_, input, output, platform, quiet] {
          return load_archive(*layers, input, platform, quiet ? nullptr : output);
        },
        [this, output](result<std::vector<images::loaded_image>> loaded) {
          if (loaded) {
            record_loaded(std::move(*loaded), 0, output);
            return;
          }
          output->fail_in_stream(loaded.error());
          arrival_ended();
        });
  });
  return id;
}

void image_manager::record_loaded(std::vector<images::loaded_image> loaded, size_t at,
                                  std::shared_ptr<progress_output> output) {
  if (at == loaded.size()) {
    output->finish();
    arrival_ended();
    return;
  }
  auto all = std::make_shared<std::vector<images::loaded_image>>(std::move(loaded));
  auto texts = std::make_shared<std::vector<std::string>>();
  // The documents reach the disk before the row does.
  offload(
      this, *ctx_.port, *ctx_.pool,
      [blobs = blobs_, all, at]() -> result<void> {
        const auto& image = (*all)[at];
        if (!image.manifest.empty()) ARCA_CHECK(blobs->put(image.manifest, image.manifest_digest));
        ARCA_CHECK(blobs->put(image.config, image.id));
        return {};
      },
      [this, all, at, texts, output](result<void> stored) {
        change(
            [this, all, at, texts, stored]() -> result<catalog_change> {
              if (!stored) return fail(stored.error());
              return loaded_change((*all)[at], *texts);
            },
            [this, all, at, texts, output](result<void> done) {
              if (!done) {
                output->fail_in_stream(done.error());
                arrival_ended();
                return;
              }
              for (const auto& text : *texts) output->stream_text(text);
              record_loaded(std::move(*all), at + 1, output);
            });
      });
}

result<catalog_change> image_manager::loaded_change(const images::loaded_image& image,
                                                    std::vector<std::string>& texts) {
  ARCA_TRY(record, parse_image(image.id, image.config));
  record.manifest_digest = image.manifest.empty() ? std::string() : image.manifest_digest;
  auto all = catalog_.put(std::move(record));
  for (const auto& tag : image.repo_tags) {
    ARCA_TRY(name, registry::reference::parse(tag));
    if (name.tag().empty()) return fail(errc::internal, "invalid tag " + go_quote(tag));
    if (const auto before = catalog_.by_name(name); before != nullptr && before->id != image.id)
      texts.push_back("The image " + name.familiar() + " already exists, renaming the old one with ID " + before->id +
                      " to empty string\n");
    auto named = catalog_.name_image(name, image.id);
    all.rows.insert(all.rows.end(), named.rows.begin(), named.rows.end());
    texts.push_back("Loaded image: " + name.familiar() + '\n');
  }
  if (image.repo_tags.empty()) texts.push_back("Loaded image ID: " + image.id + '\n');
  all.events.push_back(image_event("load", image.id, image.id));
  return all;
}

// ---- import

caf::result<stream_id> image_manager::import(const import_image& q) {
  auto in = take_input(q.input);
  if (q.source.empty()) return caf_error(errc::internal, "Get \"http:\": http: no Host in request URL");
  images::import_options options;
  auto platform = read_platform(q.platform);
  if (!platform) return to_caf(platform.error());
  if (!platform->os.empty() && platform->os != "linux")
    return caf_error(errc::invalid_argument, "operating system is not supported");
  options.target = *platform;
  options.message = q.message.empty() ? "Imported from " + q.source : q.message;
  options.docker_version = model::engine_version;
  nlohmann::json config = nlohmann::json::object();
  if (auto applied = apply_changes(config, q.changes); !applied) return to_caf(applied.error());
  options.config = config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string name;
  if (!q.repository.empty()) {
    auto target = image_catalog::target_name(q.repository, q.tag);
    if (!target) return to_caf(target.error());
    name = target->string();
  }
  auto promise = make_response_promise<stream_id>();
  auto input = in ? in->input : nullptr;
  arrive([this, input, options, name, promise, from = q.source] {
    offload(
        this, *ctx_.port, *ctx_.pool,
        [layers = layers_, blobs = blobs_, input, options, from]() -> result<images::loaded_image> {
          auto source = from == "-" ? result<archive::byte_source>(source_of_channel(input)) : source_of_url(from);
          if (!source) return fail(source.error());
          ARCA_TRY(image, images::import(*layers, *source, options));
          ARCA_CHECK(blobs->put(image.config, image.id));
          return image;
        },
        [this, name, promise](result<images::loaded_image> image) mutable {
          if (image) {
            record_imported(*image, name, promise);
            return;
          }
          // Docker answers 500 for an archive that is none.
          const auto code = image.error().code() == errc::invalid_argument ? errc::internal : image.error().code();
          promise.deliver(caf_error(code, image.error().message()));
          arrival_ended();
        });
  });
  return promise;
}

void image_manager::record_imported(const images::loaded_image& image, const std::string& name,
                                    caf::typed_response_promise<stream_id> promise) {
  change(
      [this, image, name]() -> result<catalog_change> {
        ARCA_TRY(record, parse_image(image.id, image.config));
        auto all = catalog_.put(std::move(record));
        if (!name.empty()) {
          ARCA_TRY(parsed, registry::reference::parse(name));
          ARCA_TRY(tagged, catalog_.tag(image.id, parsed, now_nanos()));
          all.rows.insert(all.rows.end(), tagged.rows.begin(), tagged.rows.end());
          all.events = tagged.events;
        }
        all.events.push_back(image_event("import", image.id, image.id));
        return all;
      },
      [this, id = image.id, promise](result<void> done) mutable {
        arrival_ended();
        if (!done) {
          promise.deliver(to_caf(done.error()));
          return;
        }
        stream s;
        s.output = std::make_shared<byte_channel>();
        s.output->push(line_of("status", id));
        s.output->close();
        promise.deliver(ctx_.streams->put(std::move(s)));
      });
}

// ---- save

result<std::vector<images::saved_image>> image_manager::resolve_saved(const save_images& q,
                                                                      std::vector<std::string>& ids) {
  ARCA_TRY(platform, read_platform_json(q.platform));
  std::vector<images::saved_image> out;
  std::map<std::string, size_t> place;
  const auto add = [&](const image_record& image, const registry::reference* name) -> result<void> {
    if (!platform.empty() && !images::matches(platform, image.platform))
      return fail(errc::internal, "no suitable export target found for platform " + images::to_string(platform));
    const auto [at, fresh] = place.emplace(image.id, out.size());
    if (fresh) {
      out.emplace_back();
      ids.push_back(image.id);
    }
    auto& references = out[at->second].references;
    if (name != nullptr && name->digest().empty() &&
        std::find(references.begin(), references.end(), name->familiar()) == references.end())
      references.push_back(name->familiar());
    return {};
  };
  for (const auto& text : q.references) {
    auto found = catalog_.find(text);
    const auto name = registry::reference::parse(text);
    std::vector<registry::reference> all;
    if (name && name->name_only())  // a bare repository: every tag of it
      for (const auto& [id, image] : catalog_.images())
        for (const auto& n : catalog_.names_of(id))
          if (n.name() == name->name() && n.digest().empty()) all.push_back(n);
    for (const auto& n : all) ARCA_CHECK(add(*catalog_.by_name(n), &n));
    if (!all.empty()) continue;
    if (!found) {
      if (found.error().code() != errc::not_found) return fail(errc::internal, found.error().message());
      return fail(errc::not_found, "No such image: " + text);
    }
    ARCA_CHECK(add(**found, name && catalog_.by_name(*name) == *found ? &*name : nullptr));
  }
  return out;
}

caf::result<stream_id> image_manager::save(const save_images& q) {
  std::vector<std::string> ids;
  auto what = resolve_saved(q, ids);
  if (!what) return to_caf(what.error());
  auto channel = std::make_shared<byte_channel>();
  stream s;
  s.output = channel;
  const auto id = ctx_.streams->put(std::move(s));
  std::vector<std::string> needed = ids;
  for (const auto& image : ids) {
    const auto& layers = catalog_.images().at(image)->chain_ids;
    needed.insert(needed.end(), layers.begin(), layers.end());
  }
  saved_.insert(needed.begin(), needed.end());
  auto begin = [this, what = std::move(*what), ids, needed, channel]() mutable {
    for (const auto& image : ids) send(ctx_.events, image_event("save", image, image));
    offload(
        this, *ctx_.port, *ctx_.pool,
        [layers = layers_, blobs = blobs_, what = std::move(what), ids, channel]() mutable {
          for (size_t i = 0; i < what.size(); ++i) {
            auto config = blobs->get(ids[i]);
            if (!config) {
              channel->close(config.error());
              return false;
            }
            what[i].config = std::move(*config);
          }
          save_archive(*layers, what, channel);
          return true;
        },
        [this, needed](bool) { save_ended(needed); });
  };
  if (saves_ < most_saves) {
    ++saves_;
    begin();
  } else {
    waiting_saves_.push_back(std::move(begin));
  }
  return id;
}

void image_manager::save_ended(const std::vector<std::string>& needed) {
  for (const auto& each : needed) saved_.erase(saved_.find(each));
  if (waiting_saves_.empty()) {
    --saves_;
  } else {
    auto begin = std::move(waiting_saves_.front());
    waiting_saves_.pop_front();
    begin();
  }
  sweep();
}

}  // namespace arca
