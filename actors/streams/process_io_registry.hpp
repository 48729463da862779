// Where the machine actor finds the process_io whose socket it has just opened. The container (or exec) actor puts it
// in before it launches, and takes it out when the process is over.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "actors/streams/process_io.hpp"

namespace arca {

class process_io_registry {
 public:
  void put(const std::string& container_id, const std::string& process_id, std::shared_ptr<process_io> io) {
    const std::lock_guard guard(lock_);
    table_[container_id + '/' + process_id] = std::move(io);
  }
  /// Null when nobody wants the bytes: then they are not captured.
  std::shared_ptr<process_io> find(const std::string& container_id, const std::string& process_id) const {
    const std::lock_guard guard(lock_);
    const auto found = table_.find(container_id + '/' + process_id);
    return found == table_.end() ? nullptr : found->second;
  }
  void erase(const std::string& container_id, const std::string& process_id) {
    std::shared_ptr<process_io> last;  // its destructor runs without the lock
    const std::lock_guard guard(lock_);
    if (auto node = table_.extract(container_id + '/' + process_id)) last = std::move(node.mapped());
  }

 private:
  mutable std::mutex lock_;
  std::map<std::string, std::shared_ptr<process_io>> table_;
};

}  // namespace arca
