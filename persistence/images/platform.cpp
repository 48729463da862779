#include "persistence/images/platform.hpp"

#include <sys/utsname.h>

#include "persistence/base/text.hpp"

namespace arca::images {
namespace {

platform normalised(platform p) {
  if (p.architecture == "x86_64" || p.architecture == "x86-64") p.architecture = "amd64";
  if (p.architecture == "aarch64") p.architecture = "arm64";
  if (p.architecture == "i386") p.architecture = "386";
  if (p.architecture == "armhf") p = {p.os, "arm", "v7"};
  if (p.architecture == "armel") p = {p.os, "arm", "v6"};
  if (p.architecture == "amd64" && p.variant == "v1") p.variant.clear();
  if (p.architecture == "arm64" && (p.variant == "v8" || p.variant == "8")) p.variant.clear();
  if (p.architecture == "arm" && p.variant.empty()) p.variant = "v7";
  return p;
}

bool is_known_os(const std::string& text) {
  for (const char* os :
       {"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "android", "js", "plan9"})
    if (text == os) return true;
  return false;
}

bool is_known_architecture(const std::string& text) {
  for (const char* a :
       {"386",     "amd64",   "arm",   "arm64", "loong64", "mips",   "mipsle",  "mips64", "mips64le", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm",  "x86_64",  "x86-64", "aarch64", "i386",   "armhf",    "armel"})
    if (text == a) return true;
  return false;
}

}  // namespace

platform host_platform() {
  utsname name{};
  ::uname(&name);
  return normalised({"linux", name.machine, ""});
}

result<platform> parse_platform(const std::string& text) {
  auto parts = split(lower(text), '/');
  while (parts.size() > 4) {  // Docker cuts at the first three slashes only
    parts[3] += '/' + parts[4];
    parts.erase(parts.begin() + 4);
  }
  const auto bad = [&](const char* what) {
    return fail(errc::invalid_argument, go_quote(text) + ": " + what + ": invalid argument");
  };
  if (text.empty()) return bad("cannot parse platform specifier");
  for (const auto& part : parts)
    if (part.empty() || part.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") != std::string::npos)
      return fail(errc::invalid_argument, go_quote(part) + " is an invalid component of " + go_quote(text) +
                                              ": platform specifier component must match "
                                              "\"^[A-Za-z0-9_.-]+$\": invalid argument");
  if (parts.size() > 3) return bad("cannot parse platform specifier");
  if (parts.size() == 1) {
    const auto host = host_platform();
    if (is_known_os(parts[0])) return platform{parts[0], host.architecture, host.variant};
    if (is_known_architecture(parts[0])) return normalised({host.os, parts[0], ""});
    return bad("unknown operating system or architecture");
  }
  return normalised({parts[0], parts[1], parts.size() == 3 ? parts[2] : ""});
}

std::string to_string(const platform& p) {
  return p.os + "/" + p.architecture + (p.variant.empty() ? "" : "/" + p.variant);
}

bool matches(const platform& want, const platform& have) noexcept {
  if (want.empty()) return true;
  if (want.os != have.os || want.architecture != have.architecture) return false;
  return want.variant.empty() || have.variant.empty() || want.variant == have.variant;
}

}  // namespace arca::images
