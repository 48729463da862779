// volume_manager: named and anonymous volumes of the local driver, below DATA_ROOT/volumes/NAME/_data.
#pragma once
#include "actors/protocol/image.hpp"
#include "actors/protocol/message.hpp"

namespace arca {

/// Makes the volume if it is not there (anonymous when `name` is empty: a 64-hex name and the anonymous label) and
/// counts `container_id` as its user. Answers its host folder.
struct acquire_volume {
  std::string name, driver, container_id;
  std::map<std::string, std::string> labels, options;
  bool anonymous =
      false;  ///< with a name: taken over (--volumes-from) from a mount that had none, so `rm -v` may remove it
  ARCA_MESSAGE(acquire_volume, name, driver, container_id, labels, options, anonymous)
};
struct acquired_volume {
  std::string name, driver, mountpoint;
  bool created = false;
  ARCA_MESSAGE(acquired_volume, name, driver, mountpoint, created)
};
/// The container no longer uses its volumes; with `remove_anonymous`, its anonymous ones go.
struct release_volumes {
  std::string container_id;
  bool remove_anonymous = false;
  ARCA_MESSAGE(release_volumes, container_id, remove_anonymous)
};
/// After a restart of the daemon: every container there is. What others used is given back, their anonymous volumes go.
struct reconcile_volumes {
  std::vector<std::string> containers;
  ARCA_MESSAGE(reconcile_volumes, containers)
};
struct create_volume {
  std::string name, driver;
  std::map<std::string, std::string> labels, options;
  bool has_labels = false, has_options = false;  ///< an empty object was given: shown as {}, not null
  ARCA_MESSAGE(create_volume, name, driver, labels, options, has_labels, has_options)
};
struct list_volumes {
  std::string filters;
  bool usage = false;  ///< with UsageData (system df): walks the volumes' files
  ARCA_MESSAGE(list_volumes, filters, usage)
};
struct inspect_volume {
  std::string name;
  ARCA_MESSAGE(inspect_volume, name)
};
struct remove_volume {
  std::string name;
  bool force = false;
  ARCA_MESSAGE(remove_volume, name, force)
};
/// Anonymous volumes that nobody uses; with the filter all=true every unused one (clients below API 1.42 mean that).
struct prune_volumes {
  std::string filters;
  ARCA_MESSAGE(prune_volumes, filters)
};

using volume_manager_actor = caf::typed_actor<
    caf::replies_to<acquire_volume>::with<acquired_volume>, caf::replies_to<release_volumes>::with<void>,
    caf::replies_to<reconcile_volumes>::with<void>, caf::replies_to<create_volume>::with<json_document>,
    caf::replies_to<list_volumes>::with<json_document>, caf::replies_to<inspect_volume>::with<json_document>,
    caf::replies_to<remove_volume>::with<void>, caf::replies_to<prune_volumes>::with<json_document>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_volumes, caf::first_custom_type_id + 90)
CAF_ADD_TYPE_ID(arca_volumes, (arca::acquire_volume))
CAF_ADD_TYPE_ID(arca_volumes, (arca::acquired_volume))
CAF_ADD_TYPE_ID(arca_volumes, (arca::release_volumes))
CAF_ADD_TYPE_ID(arca_volumes, (arca::reconcile_volumes))
CAF_ADD_TYPE_ID(arca_volumes, (arca::create_volume))
CAF_ADD_TYPE_ID(arca_volumes, (arca::list_volumes))
CAF_ADD_TYPE_ID(arca_volumes, (arca::inspect_volume))
CAF_ADD_TYPE_ID(arca_volumes, (arca::remove_volume))
CAF_ADD_TYPE_ID(arca_volumes, (arca::prune_volumes))
CAF_END_TYPE_ID_BLOCK(arca_volumes)
