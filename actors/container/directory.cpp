#include "actors/container/directory.hpp"

namespace arca {

std::shared_ptr<const std::string> inspect_view::text(const model::container_record& r,
                                                      const model::inspect_extras& extras,
                                                      const model::api_version& version) const {
  const std::lock_guard guard(lock_);
  if (execs_ != extras.exec_ids) {
    by_minor_.clear();
    execs_ = extras.exec_ids;
  }
  auto& text = by_minor_[version.minor];
  if (text == nullptr)
    text = std::make_shared<const std::string>(model::inspect_for_version(model::inspect_json(r, extras), version));
  return text;
}

result<container_entry> directory::find(std::string_view name) const {
  const std::string key(name);
  if (key.empty()) return fail(errc::invalid_argument, "invalid name or ID supplied: \"\"");
  if (const auto found = by_id_.find(key); found != by_id_.end()) return found->second;
  const std::string bare = key[0] == '/' ? key.substr(1) : key;
  if (const auto found = id_by_name_.find(bare); found != id_by_name_.end()) return by_id_.at(found->second);
  const auto first = by_id_.lower_bound(key);
  if (first != by_id_.end() && first->first.compare(0, key.size(), key) == 0) {
    const auto second = std::next(first);
    if (second != by_id_.end() && second->first.compare(0, key.size(), key) == 0)
      return fail(errc::invalid_argument, "multiple IDs found with provided prefix: " + key);
    return first->second;
  }
  return fail(errc::not_found, "No such container: " + key);
}

std::shared_ptr<const directory> directory::of(std::vector<container_entry> entries) {
  auto d = std::make_shared<directory>();
  for (auto& e : entries) {
    d->id_by_name_[e.record->name] = e.record->id;
    auto id = e.record->id;
    d->by_id_[std::move(id)] = std::move(e);
  }
  return d;
}

std::shared_ptr<const directory> directory::with(container_entry entry) const {
  auto next = std::make_shared<directory>(*this);
  const auto& id = entry.record->id;
  if (const auto old = next->by_id_.find(id); old != next->by_id_.end())
    next->id_by_name_.erase(old->second.record->name);
  next->id_by_name_[entry.record->name] = id;
  next->by_id_[id] = std::move(entry);
  return next;
}

std::shared_ptr<const directory> directory::without(const std::string& id) const {
  auto next = std::make_shared<directory>(*this);
  if (const auto old = next->by_id_.find(id); old != next->by_id_.end()) {
    next->id_by_name_.erase(old->second.record->name);
    next->by_id_.erase(old);
  }
  return next;
}

void exec_index::put(const std::string& id, const std::string& container_id, exec_actor handle) {
  const std::lock_guard guard(lock_);
  by_id_[id] = {container_id, std::move(handle)};
  by_container_[container_id].alive.insert(id);
}

result<exec_actor> exec_index::find(const std::string& id) const {
  const std::lock_guard guard(lock_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return fail(errc::not_found, "No such exec instance: " + id);
  return found->second.handle;
}

std::vector<std::string> exec_index::of_container(const std::string& container_id) const {
  const std::lock_guard guard(lock_);
  const auto found = by_container_.find(container_id);
  if (found == by_container_.end()) return {};
  return {found->second.alive.begin(), found->second.alive.end()};
}

void exec_index::exited(const std::string& id) {
  const std::lock_guard guard(lock_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || found->second.state != entry::age::alive) return;
  found->second.state = entry::age::exited;
  auto& siblings = by_container_[found->second.container_id];
  siblings.exited.insert(siblings.alive.extract(id));
}

void exec_index::erase(std::map<std::string, entry>::iterator which, std::vector<exec_actor>& ended) {
  const auto in = by_container_.find(which->second.container_id);
  in->second.alive.erase(which->first);
  in->second.exited.erase(which->first);
  if (in->second.alive.empty() && in->second.exited.empty()) by_container_.erase(in);
  ended.push_back(std::move(which->second.handle));
  by_id_.erase(which);
}

void exec_index::forget_exited() {
  std::vector<exec_actor> ended;  // handles are released outside the lock
  const std::lock_guard guard(lock_);
  for (auto at = by_id_.begin(); at != by_id_.end();) {
    const auto which = at++;
    if (which->second.state == entry::age::forgettable)
      erase(which, ended);
    else if (which->second.state == entry::age::exited)
      which->second.state = entry::age::forgettable;
  }
}

void exec_index::erase(const std::string& id) {
  std::vector<exec_actor> ended;
  const std::lock_guard guard(lock_);
  if (const auto found = by_id_.find(id); found != by_id_.end()) erase(found, ended);
}

void exec_index::erase_container(const std::string& container_id) {
  std::vector<exec_actor> ended;  // handles are released outside the lock
  const std::lock_guard guard(lock_);
  const auto found = by_container_.find(container_id);
  if (found == by_container_.end()) return;
  for (const auto* ids : {&found->second.alive, &found->second.exited})
    for (const auto& id : *ids)
      if (auto e = by_id_.extract(id)) ended.push_back(std::move(e.mapped().handle));
  by_container_.erase(found);
}

void exec_index::clear() {
  std::map<std::string, entry> ended;
  const std::lock_guard guard(lock_);
  ended.swap(by_id_);
  by_container_.clear();
}

}  // namespace arca
