// image_manager: names, images and layers on this host, and the leases that keep them. Each pull is an image_pull actor
// below it; equal pulls share one. Work on files and registries happens in detached children; the manager only keeps
// maps.
#pragma once
#include "actors/protocol/message.hpp"

namespace arca {

/// Resolves a name, id or unique id prefix to an image for `platform` ("" or "linux/amd64[/v1]") and leases it to
/// `lease_owner` (a container id) until release_image. errc::not_found: "No such image: NAME".
struct resolve_image {
  std::string reference, platform, lease_owner;
  ARCA_MESSAGE(resolve_image, reference, platform, lease_owner)
};
struct resolved_image {
  std::string id;                   ///< "sha256:…"
  std::string config;               ///< JSON of the image config's `config` object ("{}" when absent)
  std::vector<std::string> layers;  ///< folders, topmost first
  std::string os, architecture;
  ARCA_MESSAGE(resolved_image, id, config, layers, os, architecture)
};
/// The container is gone.
struct release_image {
  std::string lease_owner;
  ARCA_MESSAGE(release_image, lease_owner)
};

/// What container lists and the `ancestor` filter need: the names and the whole ancestry of images. Answered from
/// memory.
struct list_images {
  bool all = false, digests = false, shared_size = false, manifests = false;
  std::string filters;  ///< JSON object of lists, as in the query; validated here (400 for an unknown filter)
  ARCA_MESSAGE(list_images, all, digests, shared_size, manifests, filters)
};
struct inspect_image {
  std::string reference, platform;
  bool manifests = false;
  ARCA_MESSAGE(inspect_image, reference, platform, manifests)
};
struct image_history {
  std::string reference, platform;
  ARCA_MESSAGE(image_history, reference, platform)
};
struct tag_image {
  std::string source, repository, tag;
  ARCA_MESSAGE(tag_image, source, repository, tag)
};
struct remove_image {
  std::string reference;
  bool force = false, prune_parents = true;
  std::vector<std::string> running;  ///< ids of the containers that run now (from the directory): they bar even `force`
  std::vector<std::string> platforms;  ///< JSON each; the image must be of one of them
  ARCA_MESSAGE(remove_image, reference, force, prune_parents, running, platforms)
};
struct prune_images {
  std::string filters;
  ARCA_MESSAGE(prune_images, filters)
};
/// Answers when the first progress line is there or the pull has failed (then the error; later failures are a last
/// {"errorDetail":…} line, as Docker does). Aborting the stream cancels the pull, unless another client shares it.
struct pull_image {
  std::string reference, tag, platform;
  std::string registry_auth;  ///< JSON of X-Registry-Auth, decoded; empty: anonymous
  ARCA_MESSAGE(pull_image, reference, tag, platform, registry_auth)
};
/// `input` carries the archive's bytes; the answer is a stream of progress lines.
struct load_images {
  stream_id input = 0;
  bool quiet = false;
  std::string platform;
  ARCA_MESSAGE(load_images, input, quiet, platform)
};
/// POST /images/create?fromSrc=: a root file system as an image of one layer.
struct import_image {
  std::string source;  ///< "-": the input stream; else an http or https URL
  stream_id input = 0;
  std::string repository, tag, message, platform;
  std::vector<std::string> changes;  ///< Dockerfile instructions
  ARCA_MESSAGE(import_image, source, input, repository, tag, message, platform, changes)
};
/// A docker-archive of the named images as a stream.
struct save_images {
  std::vector<std::string> references;
  std::string platform;
  ARCA_MESSAGE(save_images, references, platform)
};
struct json_document {
  std::string text;
  ARCA_MESSAGE(json_document, text)
};
struct image_totals {
  int64_t images = 0;
  ARCA_MESSAGE(image_totals, images)
};
struct count_images {
  bool unused = false;
  ARCA_MESSAGE(count_images, unused)
};

using image_manager_actor =
    caf::typed_actor<caf::replies_to<resolve_image>::with<resolved_image>, caf::replies_to<release_image>::with<void>,
                     caf::replies_to<list_images>::with<json_document>,
                     caf::replies_to<inspect_image>::with<json_document>,
                     caf::replies_to<image_history>::with<json_document>, caf::replies_to<tag_image>::with<void>,
                     caf::replies_to<remove_image>::with<json_document>,
                     caf::replies_to<prune_images>::with<json_document>, caf::replies_to<pull_image>::with<stream_id>,
                     caf::replies_to<load_images>::with<stream_id>, caf::replies_to<import_image>::with<stream_id>,
                     caf::replies_to<save_images>::with<stream_id>, caf::replies_to<count_images>::with<image_totals>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_images, caf::first_custom_type_id + 40)
CAF_ADD_TYPE_ID(arca_images, (arca::resolve_image))
CAF_ADD_TYPE_ID(arca_images, (arca::resolved_image))
CAF_ADD_TYPE_ID(arca_images, (arca::release_image))
CAF_ADD_TYPE_ID(arca_images, (arca::list_images))
CAF_ADD_TYPE_ID(arca_images, (arca::inspect_image))
CAF_ADD_TYPE_ID(arca_images, (arca::image_history))
CAF_ADD_TYPE_ID(arca_images, (arca::tag_image))
CAF_ADD_TYPE_ID(arca_images, (arca::remove_image))
CAF_ADD_TYPE_ID(arca_images, (arca::prune_images))
CAF_ADD_TYPE_ID(arca_images, (arca::pull_image))
CAF_ADD_TYPE_ID(arca_images, (arca::load_images))
CAF_ADD_TYPE_ID(arca_images, (arca::import_image))
CAF_ADD_TYPE_ID(arca_images, (arca::save_images))
CAF_ADD_TYPE_ID(arca_images, (arca::json_document))
CAF_ADD_TYPE_ID(arca_images, (arca::image_totals))
CAF_ADD_TYPE_ID(arca_images, (arca::count_images))
CAF_END_TYPE_ID_BLOCK(arca_images)
