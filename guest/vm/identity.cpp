#include "guest/vm/identity.hpp"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <vector>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
constexpr const char* formats = "/proc/sys/fs/binfmt_misc";
constexpr size_t longest_magic = 128;          // the kernel looks at the first 256 bytes of a program
constexpr size_t longest_registration = 1920;  // the kernel's MAX_REGISTER_LENGTH

std::string escaped(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    std::array<char, 5> one{};
    std::snprintf(one.data(), one.size(), "\\x%02x", static_cast<unsigned char>(c));
    out += one.data();
  }
  return out;
}

result<void> write_to(const std::string& path, const std::string& text) {
  ARCA_TRY(file, fs::open(path, O_WRONLY));
  // One write: the kernel takes a line as a whole.
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return fail_errno(path);
  return {};
}
}  // namespace

result<void> seed_random(const std::string& seed) {
  if (seed.size() < 16 || seed.size() > 512) return fail(errc::invalid_argument, "a seed has 16 to 512 bytes");
  std::vector<char> request(sizeof(rand_pool_info) + seed.size());
  const std::array<int, 2> head{static_cast<int>(seed.size() * 8), static_cast<int>(seed.size())};
  static_assert(sizeof head == sizeof(rand_pool_info));
  std::memcpy(request.data(), head.data(), sizeof head);
  std::memcpy(request.data() + sizeof head, seed.data(), seed.size());
  ARCA_TRY(device, fs::open("/dev/urandom", O_RDWR));
  const bool done = ioctl(device.get(), RNDADDENTROPY, request.data()) == 0 && ioctl(device.get(), RNDRESEEDCRNG) == 0;
  explicit_bzero(request.data(), request.size());
  if (!done) return fail_errno("seed the random generator");
  return {};
}

result<void> set_clock(int64_t now) {
  if (now <= 0) return fail(errc::invalid_argument, "invalid time");
  const timespec time{now / 1'000'000'000, now % 1'000'000'000};
  if (clock_settime(CLOCK_REALTIME, &time) != 0) return fail_errno("set the clock");
  return {};
}

result<void> set_sysctl(const std::string& name, const std::string& value) {
  if (name.empty() || name.size() > 256 || name.find("..") != std::string::npos ||
      name.find_first_of(std::string("/\0", 2)) != std::string::npos)
    return fail(errc::invalid_argument, "invalid sysctl " + go_quote(name));
  std::string path = name;
  std::ranges::replace(path, '.', '/');
  if (auto written = write_to("/proc/sys/" + path, value); !written) return fail(written.error().wrap(name));
  return {};
}

result<std::string> binfmt_line(const emulator& what) {
  const bool good_name = !what.name.empty() && what.name.size() <= 64 && what.name.front() != '.' &&
                         std::ranges::all_of(what.name, [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                         });
  if (!good_name || what.name == "register" || what.name == "status")
    return fail(errc::invalid_argument, "invalid name of an emulator " + go_quote(what.name));
  if (what.interpreter.empty() || what.interpreter.front() != '/' ||
      what.interpreter.find_first_of(std::string(":\n\0", 3)) != std::string::npos)
    return fail(errc::invalid_argument, "invalid interpreter " + go_quote(what.interpreter));
  if (what.magic.empty() || what.magic.size() > longest_magic || what.mask.size() > longest_magic ||
      (!what.mask.empty() && what.mask.size() != what.magic.size()))
    return fail(errc::invalid_argument, "invalid magic of emulator " + what.name);
  std::string line =
      ":" + what.name + ":M:0:" + escaped(what.magic) + ":" + escaped(what.mask) + ":" + what.interpreter + ":F";
  if (line.size() > longest_registration) return fail(errc::invalid_argument, "too long: emulator " + what.name);
  return line;
}

result<void> set_up_emulator(const emulator& what) {
  ARCA_TRY(line, binfmt_line(what));
  const std::string folder = formats;
  if (access((folder + "/register").c_str(), F_OK) != 0 &&
      ::mount("binfmt_misc", formats, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return fail_errno("mount binfmt_misc");
  const std::string entry = folder + '/' + what.name;
  if (access(entry.c_str(), F_OK) == 0) ARCA_CHECK(write_to(entry, "-1"));
  return write_to(folder + "/register", line);
}

}  // namespace arca::guest
