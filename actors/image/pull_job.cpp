#include "actors/image/pull_job.hpp"

#include "actors/image/image_record.hpp"
#include "actors/image/layer_fetch.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
registry::platform_spec spec_of(const images::platform& p) {
  return {p.os, p.architecture, p.variant};
}
}  // namespace

struct pull_job::impl {
  impl(pull_request r, registry::client_options o, std::shared_ptr<images::layer_store> l,
       std::shared_ptr<images::blob_store> b, catalog_access c, std::shared_ptr<progress_output> out)
      : request(std::move(r)),
        layers(std::move(l)),
        blobs(std::move(b)),
        catalog(std::move(c)),
        output(std::move(out)),
        repository(std::move(o), request.name, request.who, stop) {}

  pull_request request;
  std::shared_ptr<images::layer_store> layers;
  std::shared_ptr<images::blob_store> blobs;
  catalog_access catalog;
  std::shared_ptr<progress_output> output;
  registry::stop_signal stop;
  registry::repository repository;

  images::platform platform() const { return request.platform.empty() ? images::host_platform() : request.platform; }

  // A failure of the registry in the words of docker pull for the name that was asked for.
  error words(const registry::failure& f, const registry::reference& name) const {
    return registry::pull_error(f, name);
  }

  result<void> all() {
    bool news = false;
    if (!request.name.name_only()) {
      ARCA_TRY(updated, one(request.name));
      news = updated;
    } else {
      auto tags = repository.tags();
      if (!tags) return fail(words(tags.error(), request.name));
      for (const auto& tag : *tags) {
        ARCA_TRY(name, request.name.with_tag(tag));
        ARCA_TRY(updated, one(name));
        news = news || updated;
      }
    }
    output->message({}, (news ? "Status: Downloaded newer image for " : "Status: Image is up to date for ") +
                            request.name.familiar());
    ARCA_TRY(warning, catalog.pulled(request.name, request.platform));
    if (!warning.empty()) output->message({}, "WARNING: " + warning);
    return {};
  }

  result<bool> one(const registry::reference& name) {
    const bool by_digest = !name.digest().empty();
    const auto subject = by_digest ? name.digest() : name.tag();
    std::string digest = subject;
    if (!by_digest) {
      auto found = repository.resolve(subject);
      if (!found) return fail(words(found.error(), name));
      digest = found->digest;
    }
    bool announced = false;
    for (int attempt = 1;; ++attempt) {
      arrived_image arrived;
      arrived.name = name;
      arrived.manifest_digest = digest;
      ARCA_TRY(known, catalog.known(name, digest, platform()));
      if (!known.empty()) {
        announce(name, subject, announced);
        arrived.id = known;
      } else {
        ARCA_CHECK(fetch(arrived, subject, announced));
      }
      auto done = catalog.record(arrived);
      if (!done && done.error().code() == errc::gone && attempt < 5) continue;  // removed meanwhile: fetch it after all
      if (done) output->message({}, "Digest: " + digest);
      return done;
    }
  }

  void announce(const registry::reference& name, const std::string& subject, bool& announced) {
    if (std::exchange(announced, true)) return;
    output->message(name.digest().empty() ? subject : name.favor_digest().string(), "Pulling from " + name.path());
  }

  result<void> fetch(arrived_image& arrived, const std::string& subject, bool& announced) {
    const auto& name = arrived.name;
    auto text = repository.manifest(arrived.manifest_digest);
    if (!text) return fail(words(text.error(), name));
    ARCA_TRY(top, registry::parse_manifest(text->body, text->media_type));
    announce(name, subject, announced);
    auto manifest = std::move(top);
    if (manifest.index) {
      ARCA_TRY(chosen, registry::select_platform(manifest, spec_of(platform())));
      text = repository.manifest(chosen.digest);
      if (!text) return fail(words(text.error(), name));
      ARCA_TRY(inner, registry::parse_manifest(text->body, text->media_type));
      if (inner.index) return fail(errc::invalid_argument, "unsupported manifest format");
      manifest = std::move(inner);
    }
    arrived.id = manifest.config.digest;
    ARCA_TRY(present, catalog.has(arrived.id));
    if (present) return {};
    auto document = repository.blob_text(manifest.config);
    if (!document)
      return fail(document.error().what.code() == errc::cancelled
                      ? document.error().what
                      : words(document.error(), name).wrap("error pulling image configuration"));
    ARCA_TRY(image, parse_image(arrived.id, *document));
    if (image.diff_ids.size() != manifest.layers.size())
      return fail(errc::invalid_argument, "layers from manifest don't match image configuration");
    if (image.platform.os != "linux")
      return fail(errc::invalid_argument, "image operating system " + go_quote(image.platform.os) +
                                              " cannot be used on this platform: operating system is not supported");
    std::vector<wanted_layer> wanted;
    for (size_t i = 0; i < manifest.layers.size(); ++i)
      wanted.push_back({manifest.layers[i], image.diff_ids[i], image.chain_ids[i]});
    if (auto done = fetch_layers(repository, *layers, wanted, *output, stop); !done)
      return fail(words(done.error(), name));
    ARCA_CHECK(blobs->put(text->body, text->digest));
    ARCA_CHECK(blobs->put(*document, arrived.id));
    arrived.document = std::move(*document);
    arrived.stored_manifest = text->digest;
    return {};
  }
};

pull_job::pull_job(pull_request request, registry::client_options options, std::shared_ptr<images::layer_store> layers,
                   std::shared_ptr<images::blob_store> blobs, catalog_access catalog,
                   std::shared_ptr<progress_output> output)
    : self_(std::make_unique<impl>(std::move(request), std::move(options), std::move(layers), std::move(blobs),
                                   std::move(catalog), std::move(output))) {}
pull_job::~pull_job() = default;

void pull_job::cancel() noexcept {
  self_->stop.request();
}

void pull_job::run() noexcept {
  result<void> done = fail(errc::internal, "the pull ended unexpectedly");
  try {
    done = self_->all();
  } catch (const std::exception& e) {
    done = fail(errc::internal, std::string("the pull failed: ") + e.what());
  }
  if (done) {
    self_->output->finish();
  } else {
    log::info("pull failed", log::kv("image", self_->request.name.familiar()),
              log::kv("error", done.error().message()));
    self_->output->finish(done.error());
  }
}

}  // namespace arca
