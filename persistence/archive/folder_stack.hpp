// The folders from the root to where the archive's entries now go, held open: entries of one folder follow each other,
// so that nearly every entry costs no lookup at all. Also the place that sets folder times when nothing more comes.
#pragma once
#include <sys/stat.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "persistence/archive/stream.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::archive {

using times = std::array<timespec, 2>;

class folder_stack {
 public:
  /// An opened folder. `path` is below the root, links resolved ("" is the root).
  struct folder {
    int fd = -1;
    std::string_view path;
    bool setgid = false;  ///< what is made in it does not get the caller's group
  };

  /// `start` is an opened folder with the path `start_path` below `root`.
  folder_stack(int root, unique_fd start, std::string start_path);

  /// The folder that `components` name, followed from the start as in a chroot; missing ones are made (mode 0755).
  result<folder> enter(const std::vector<std::string_view>& components);
  /// Goes into a child of the folder entered last that is known to be a real folder.
  result<folder> enter_child(std::string_view name);

  /// The mode of the folder entered last was changed to this.
  void mode_changed(mode_t mode) { levels_.back().setgid = (mode & S_ISGID) != 0; }

  /// A whiteout in the way of a folder: the function removes it and makes the folder. Set for layers.
  std::function<result<bool>(int parent, const std::string& name)> replace_whiteout;

  /// This folder gets these times as soon as it is left.
  void set_times(std::string path, const times& when) { times_[std::move(path)] = when; }
  /// Leaves every folder. Afterwards all times are set.
  void leave_all();

 private:
  struct level {
    std::string name;  // as in the archive
    std::string path;  // below the root, links resolved
    unique_fd fd;      // closed when many levels are open; opened again on demand
    bool setgid = false;
  };
  result<void> push(std::string_view name, unique_fd fd, std::string path);
  result<void> push_child(std::string_view name, bool make);
  result<void> push_link(std::string_view name);
  void pop();
  result<int> fd_of(level& l);
  result<folder> top();

  const int root_;
  std::string root_real_;  // what /proc calls the root; empty until a link is met
  std::vector<level> levels_;
  std::unordered_map<std::string, times> times_;
};

}  // namespace arca::archive
