// What image_manager, its pulls and their threads say to each other.
#pragma once
#include <caf/fwd.hpp>
#include <memory>

#include "actors/image/progress.hpp"
#include "actors/image/pull_job.hpp"
#include "actors/protocol/image.hpp"

namespace arca {

struct engine_context;

/// The image that NAME@DIGEST already is here, if it serves `platform`; "" if there is none.
struct find_pulled {
  std::string name, digest, platform;
  ARCA_MESSAGE(find_pulled, name, digest, platform)
};
struct has_image {
  std::string id;
  ARCA_MESSAGE(has_image, id)
};
struct found_image {
  std::string id;
  ARCA_MESSAGE(found_image, id)
};
/// An image whose layers and documents are on disk. `document` empty: it is in the catalog.
struct record_pulled {
  std::string name, id, document, manifest_digest, stored_manifest;
  ARCA_MESSAGE(record_pulled, name, id, document, manifest_digest, stored_manifest)
};
struct recorded_image {
  bool updated = false;
  ARCA_MESSAGE(recorded_image, updated)
};
/// Every tag of this pull is recorded; the answer's text is a warning for the client, or empty.
struct pull_succeeded {
  std::string name, platform;
  ARCA_MESSAGE(pull_succeeded, name, platform)
};

using image_manager_internal = image_manager_actor::extend<
    caf::replies_to<find_pulled>::with<found_image>, caf::replies_to<has_image>::with<found_image>,
    caf::replies_to<record_pulled>::with<recorded_image>, caf::replies_to<pull_succeeded>::with<json_document>>;

/// One more client of a running pull: its stream, when there is a first line.
struct join_pull {
  ARCA_MESSAGE(join_pull)
};
using image_pull_actor = caf::typed_actor<caf::replies_to<join_pull>::with<stream_id>>;

/// One pull: runs the job on the pool and ends with it. `name` is for the path in the tree.
image_pull_actor spawn_image_pull(caf::actor_system& system, engine_context& context, const std::string& name,
                                  std::shared_ptr<pull_job> job, std::shared_ptr<progress_output> output);

/// The catalog as the threads of a pull see it: questions to the manager that wait for the answer.
catalog_access access_through(caf::actor_system& system, const image_manager_internal& manager);

}  // namespace arca
