#include "guest/vm/kernel_modules.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {

std::string module_name(std::string text) {
  std::ranges::replace(text, '-', '_');
  return text;
}

std::string name_of_file(const std::string& path) {
  const auto from = path.rfind('/') + 1;  // npos + 1 is 0
  return module_name(path.substr(from, path.find('.', from) - from));
}
}  // namespace

std::vector<std::string> module_needs(std::string_view module) {
  constexpr std::string_view key = "depends=";
  size_t at = module.find(key);
  while (at != std::string_view::npos && (at == 0 || module[at - 1] != '\0')) at = module.find(key, at + 1);
  if (at == std::string_view::npos) return {};
  module.remove_prefix(at + key.size());
  std::vector<std::string> out;
  for (const auto& each : split(module.substr(0, module.find('\0')), ','))
    if (!each.empty()) out.push_back(module_name(each));
  return out;
}

kernel_modules::kernel_modules(std::string_view order, const std::string& folder) {
  bool first = true;
  for (const auto& line : split(order, '\n')) {
    first = first && !line.empty();
    if (line.empty()) continue;
    const std::string name = name_of_file(line);
    paths_[name] = line.front() == '/' ? line : folder + '/' + line;
    if (first) first_.push_back(name);
  }
}

result<void> kernel_modules::load_first() {
  const std::lock_guard lock(guard_);
  for (const auto& name : first_) {  // in load order: nobody's needs have to be looked up
    loaded_.insert(name);
    ARCA_CHECK(insert(name));
  }
  return {};
}

result<void> kernel_modules::load(const std::string& name) {
  const std::lock_guard lock(guard_);
  return load_with_needs(module_name(name));
}

result<void> kernel_modules::load_with_needs(const std::string& name) {
  const auto path = paths_.find(name);
  // Marked before its needs are looked at: a circle in them ends here.
  if (path == paths_.end() || !loaded_.insert(name).second) return {};
  ARCA_TRY(content, fs::read_file(path->second));
  for (const auto& need : module_needs(content)) ARCA_CHECK(load_with_needs(need));
  auto done = insert(name);
  if (!done) loaded_.erase(name);
  return done;
}

result<void> kernel_modules::insert(const std::string& name) const {
  ARCA_TRY(file, fs::open(paths_.at(name), O_RDONLY));
  if (syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST)
    return fail_errno("load kernel module " + name);
  return {};
}

}  // namespace arca::guest
