// The published list of containers: who has a name, id or prefix, and what `docker ps` shows. container_manager writes
// a new immutable directory and swaps it in; everybody else reads without a mailbox, so one stuck container never slows
// a look-up or a list.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/inspect.hpp"
#include "actors/protocol/container.hpp"

namespace arca {

/// GET /containers/ID/json of one published record as one API version shows it: made when somebody asks first, kept
/// until the record changes or another exec session is known.
class inspect_view {
 public:
  std::shared_ptr<const std::string> text(const model::container_record& r, const model::inspect_extras& extras,
                                          const model::api_version& version) const;

 private:
  mutable std::mutex lock_;
  mutable std::vector<std::string> execs_;
  mutable std::map<int, std::shared_ptr<const std::string>> by_minor_;
};

struct container_entry {
  std::shared_ptr<const model::container_record> record;
  std::shared_ptr<const std::string>
      summary;  ///< GET /containers/json element, ready but for "Status" (model/summary.hpp)
  std::shared_ptr<const inspect_view> inspect = std::make_shared<const inspect_view>();
  container_actor handle;
};

class directory {
 public:
  /// Full id, then name (with or without "/"), then unique id prefix. errc::not_found "No such container: NAME";
  /// errc::invalid_argument for a prefix that several share.
  result<container_entry> find(std::string_view name) const;
  const std::map<std::string, container_entry>& by_id() const { return by_id_; }

  static std::shared_ptr<const directory> of(std::vector<container_entry> entries);
  std::shared_ptr<const directory> with(container_entry entry) const;
  std::shared_ptr<const directory> without(const std::string& id) const;

 private:
  std::map<std::string, container_entry> by_id_;
  std::map<std::string, std::string> id_by_name_;
};

/// The slot in which the current directory lies; lock held for a pointer copy only.
class published_directory {
 public:
  std::shared_ptr<const directory> get() const {
    const std::lock_guard guard(lock_);
    return current_;
  }
  /// The entry as it is now; none when the container is gone.
  std::optional<container_entry> entry_of(const std::string& id) const {
    const auto all = get();
    const auto found = all->by_id().find(id);
    return found == all->by_id().end() ? std::nullopt : std::optional(found->second);
  }
  void set(std::shared_ptr<const directory> next) {
    const std::lock_guard guard(lock_);
    current_.swap(next);
  }

 private:
  mutable std::mutex lock_;
  std::shared_ptr<const directory> current_ = std::make_shared<directory>();
};

/// exec id → actor. One that has exited no longer belongs to its container but can be inspected for a while; entries go
/// at the latest with their container.
class exec_index {
 public:
  void put(const std::string& id, const std::string& container_id, exec_actor handle);
  /// errc::not_found "No such exec instance: ID".
  result<exec_actor> find(const std::string& id) const;
  /// The container that the exec belongs to; empty when there is no such exec.
  std::string container_of(const std::string& id) const {
    const std::lock_guard guard(lock_);
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? std::string() : found->second.container_id;
  }
  /// Those that have not exited.
  std::vector<std::string> of_container(const std::string& container_id) const;
  void exited(const std::string& id);
  /// Called regularly: what had exited before the last call is erased.
  void forget_exited();
  void erase(const std::string& id);
  void erase_container(const std::string& container_id);
  void clear();

 private:
  struct entry {
    std::string container_id;
    exec_actor handle;
    enum class age : uint8_t { alive, exited, forgettable } state = age::alive;
  };
  struct container_execs {
    std::set<std::string> alive, exited;
  };
  void erase(std::map<std::string, entry>::iterator which, std::vector<exec_actor>& ended);

  mutable std::mutex lock_;
  std::map<std::string, entry> by_id_;
  std::map<std::string, container_execs> by_container_;
};

}  // namespace arca
