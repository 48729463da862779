#include "guest/vm/mounts.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>

#include "guest/vm/uevents.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr auto device_limit = 5000ms;
constexpr size_t most_options = 4096;

// What the kernel says of a failure in words, through the descriptor of fsopen.
tl::unexpected<error> fail_words(int context, const std::string& what, int number) {
  std::array<char, 512> words{};
  const ssize_t n = read(context, words.data(), words.size() - 1);
  error out = errno_error(what, number);
  if (n > 2)
    out = error(out.code(), out.message() + " (" + std::string(words.data() + 2, static_cast<size_t>(n) - 2) + ")");
  return fail(std::move(out));
}

result<void> tell(int context, const std::string& option) {
  const auto equals = option.find('=');
  const int done = equals == std::string::npos
                       ? fsconfig(context, FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
                       : fsconfig(context, FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                                  option.substr(equals + 1).c_str(), 0);
  if (done != 0) return fail_words(context, "mount option " + option, errno);
  return {};
}

// `number`: errno of a failure of the creation itself.
result<unique_fd> create(const mount_call& what, const mount_options& options, int& number) {
  const unique_fd context(fsopen(what.type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return fail_errno("file system " + what.type);
  if (!what.source.empty()) ARCA_CHECK(tell(context.get(), "source=" + what.source));
  if (options.read_only) ARCA_CHECK(tell(context.get(), "ro"));
  for (const auto& each : options.data) ARCA_CHECK(tell(context.get(), each));
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    number = errno;
    return fail_words(context.get(), "mount " + what.type + ' ' + what.source, number);
  }
  unique_fd tree(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(options.attributes)));
  if (!tree) return fail_words(context.get(), "mount " + what.type + ' ' + what.source, errno);
  return tree;
}

result<unique_fd> bind(const mount_call& what, const mount_options& options) {
  const unsigned deep = options.recursive ? AT_RECURSIVE : 0;
  unique_fd tree(open_tree(AT_FDCWD, what.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep));
  if (!tree) return fail_errno("bind " + what.source);
  mount_attr attributes{};
  attributes.attr_set = options.attributes;
  if (options.attributes != 0 &&
      mount_setattr(tree.get(), "", AT_EMPTY_PATH | deep, &attributes, sizeof attributes) != 0)
    return fail_errno("bind " + what.source);
  return tree;
}
}  // namespace

result<mount_options> parse_mount_options(std::string_view text) {
  static const std::map<std::string, unsigned long> flags{{"ro", MOUNT_ATTR_RDONLY},
                                                          {"nosuid", MOUNT_ATTR_NOSUID},
                                                          {"nodev", MOUNT_ATTR_NODEV},
                                                          {"noexec", MOUNT_ATTR_NOEXEC},
                                                          {"noatime", MOUNT_ATTR_NOATIME},
                                                          {"nodiratime", MOUNT_ATTR_NODIRATIME},
                                                          {"rw", 0},
                                                          {"bind", 0},
                                                          {"rbind", 0}};
  if (text.size() > most_options) return fail(errc::invalid_argument, "mount options are too long");
  mount_options out;
  for (auto& each : split(text, ',')) {
    if (each.empty()) continue;
    if (const auto flag = flags.find(each); flag != flags.end()) {
      out.attributes |= flag->second;
      out.read_only = out.read_only || each == "ro";
      out.recursive = out.recursive || each == "rbind";
    } else {
      out.data.push_back(std::move(each));
    }
  }
  return out;
}

result<unique_fd> make_mount(const mount_call& what, kernel_modules& modules) {
  ARCA_TRY(options, parse_mount_options(what.options));
  if (what.type.empty() || what.type.size() > 64) return fail(errc::invalid_argument, "no file system type");
  if (what.type == "bind") return bind(what, options);
  const uevents news;
  ARCA_CHECK(modules.load(what.type));
  result<unique_fd> made;
  // The kernel tells a share that is not (yet) there by EINVAL, a disk by ENOENT or ENXIO.
  const auto there = [&] {
    int number = 0;
    made = create(what, options, number);
    return what.type == "virtiofs" ? number != EINVAL : number != ENOENT && number != ENXIO;
  };
  news.wait(what.type == "virtiofs" ? "virtio" : "block", device_limit, there);
  return made;
}

result<void> attach_mount(int tree, const std::string& target) {
  struct stat source {};
  if (target.empty() || target.front() != '/')
    return fail(errc::invalid_argument, "invalid target " + go_quote(target));
  if (fstat(tree, &source) != 0) return fail_errno("mount at " + target);
  if (S_ISDIR(source.st_mode)) {
    ARCA_CHECK(fs::make_dirs(target, 0755));
  } else {
    ARCA_CHECK(fs::make_dirs(target.substr(0, target.rfind('/')), 0755));
    ARCA_CHECK(fs::open(target, O_WRONLY | O_CREAT, 0644).map([](const unique_fd&) {}));
  }
  if (move_mount(tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail_errno("mount at " + target);
  return {};
}

result<void> unmount(const std::string& target, bool detach) {
  if (umount2(target.c_str(), UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) != 0) return fail_errno("unmount " + target);
  return {};
}

}  // namespace arca::guest
