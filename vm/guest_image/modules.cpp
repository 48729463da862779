#include "vm/guest_image/modules.hpp"

#include <algorithm>

#include "persistence/archive/decompress.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/elf.hpp"

namespace arca::vm {
namespace {
constexpr size_t largest_module = 32u << 20;
constexpr int deepest = 64;  // the longest chain of dependencies in Debian's kernels has less than ten

result<std::string> unpacked(const std::string& content) {
  std::string out;
  const auto source = archive::decompress(archive::source_of(content));
  for (;;) {
    ARCA_TRY(piece, source());
    if (piece.empty()) return out;
    if (out.size() + piece.size() > largest_module) return fail(errc::invalid_argument, "larger than 32 MiB");
    out += piece;
  }
}

result<std::vector<std::string>> dependencies_of(const std::string& content) {
  const auto info = elf::section(content, ".modinfo");
  if (!info) return fail(errc::invalid_argument, "not a module for x86-64");
  std::vector<std::string> out;
  for (const auto& line : split(*info, '\0')) {
    if (!starts_with(line, "depends=")) continue;
    for (const auto& name : split(line.substr(8), ','))
      if (!name.empty()) out.push_back(module_name(name));
  }
  return out;
}

class ordering {
 public:
  explicit ordering(const module_store& store) : store_(store) {}

  result<module_group> group(const std::vector<std::string>& names) {
    module_group out;
    std::set<std::string> placed;
    for (const auto& name : names) ARCA_CHECK(place(module_name(name), out, placed, 0));
    return out;
  }
  void leave_out(const module_group& group) {
    for (const auto& m : group) at_boot_.insert(m.name);
  }

 private:
  result<void> place(const std::string& name, module_group& into, std::set<std::string>& placed, int depth) {
    if (store_.built_in.count(name) != 0 || at_boot_.count(name) != 0) return {};
    if (depth > deepest) return fail(errc::invalid_argument, "module " + name + ": its dependencies are a circle");
    if (placed.count(name) != 0) return {};
    const auto found = store_.files.find(name);
    if (found == store_.files.end())
      return fail(errc::invalid_argument, "the kernel package has no module " + name + ", and it is not built in");
    auto content = unpacked(found->second);
    if (!content) return fail(errc::invalid_argument, "module " + name + ": " + content.error().message());
    const auto needed = dependencies_of(*content);
    if (!needed) return fail(errc::invalid_argument, "module " + name + ": " + needed.error().message());
    for (const auto& other : *needed) ARCA_CHECK(place(other, into, placed, depth + 1));
    placed.insert(name);
    into.push_back({name, std::move(*content)});
    return {};
  }

  const module_store& store_;
  std::set<std::string> at_boot_;
};
}  // namespace

std::string module_name(std::string_view file_name) {
  std::string out(file_name.substr(0, file_name.find('.')));
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

const std::vector<std::vector<std::string>>& wanted_modules() {
  static const std::vector<std::vector<std::string>> groups = {
      {"virtio_pci", "virtio_console", "virtiofs", "virtio_net", "virtio_balloon", "pvpanic_pci"},
      {"overlay"},
      {"binfmt_misc"},
      {"vmw_vsock_virtio_transport"},
      {"virtio_blk"},
      {"ext4"},
  };
  return groups;
}

result<std::vector<module_group>> order_modules(const module_store& store,
                                                const std::vector<std::vector<std::string>>& wanted) {
  ordering order(store);
  std::vector<module_group> out;
  for (const auto& names : wanted) {
    ARCA_TRY(group, order.group(names));
    if (out.empty()) order.leave_out(group);
    if (out.empty() || !group.empty()) out.push_back(std::move(group));
  }
  return out;
}

}  // namespace arca::vm
