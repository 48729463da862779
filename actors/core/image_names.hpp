// The published list of image names: image_manager swaps a new one in after every change; who lists containers reads it
// without a mailbox.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace arca {

/// Image id by full name ("docker.io/library/busybox:latest").
using image_names = std::map<std::string, std::string>;

class published_image_names {
 public:
  std::shared_ptr<const image_names> get() const {
    const std::lock_guard guard(lock_);
    return current_;
  }
  void set(std::shared_ptr<const image_names> next) {
    const std::lock_guard guard(lock_);
    current_.swap(next);
  }

 private:
  mutable std::mutex lock_;
  std::shared_ptr<const image_names> current_ = std::make_shared<image_names>();
};

}  // namespace arca
