#include "vm/guest_image/apt.hpp"

#include <sys/stat.h>

#include <charconv>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/files.hpp"
#include "vm/guest_image/package_fields.hpp"
#include "vm/guest_image/program.hpp"

namespace arca::vm::apt {
namespace {
constexpr const char* metapackage = "linux-image-cloud-amd64";
constexpr const char* remedy = "connect this host to its package server or give a downloaded package with --deb FILE";

result<program_result> run(std::vector<std::string> arguments, const std::string& folder = "/") {
  auto ended = run_program(arguments, folder);
  if (!ended && ended.error().code() == errc::not_found)
    return fail(errc::unsupported, arguments.front() + " is not on this host: download the package that " +
                                       metapackage + " of Debian 12 depends on elsewhere and give it with --deb FILE");
  return ended;
}

/// apt's own reason: the first line that begins with "E:" or "W: Failed"; empty where nothing failed.
std::string reason_of(const program_result& ended) {
  for (const auto& line : split(ended.errors, '\n'))
    if (starts_with(line, "E: ") || starts_with(line, "W: Failed")) return line.substr(3);
  return ended.exit_code == 0 ? std::string() : "exit code " + std::to_string(ended.exit_code);
}

result<package_fields> show(const std::string& what) {
  ARCA_TRY(shown, run({"apt-cache", "show", "--no-all-versions", what}));
  if (shown.exit_code != 0) return fail(errc::not_found, what + " is not in this host's package lists");
  return package_fields(shown.output);
}

const std::vector<std::string> patience = {"-o", "Acquire::Retries=1",        "-o", "Acquire::http::Timeout=20",
                                           "-o", "Acquire::https::Timeout=20"};

std::vector<std::string> get(std::initializer_list<std::string> words) {
  std::vector<std::string> out = {"apt-get", "-q", "-y"};
  out.insert(out.end(), patience.begin(), patience.end());
  out.insert(out.end(), words);
  return out;
}
}  // namespace

result<package_id> cloud_kernel() {
  ARCA_TRY(fields, show(metapackage));
  auto id = exact_dependency(fields["Depends"], "linux-image-");
  if (!id)
    return fail(errc::not_found, std::string(metapackage) + " depends on no single kernel: " + fields["Depends"]);
  id->architecture = fields["Architecture"];
  if (!valid_package(*id))
    return fail(errc::invalid_argument, std::string(metapackage) + " depends on no valid package");
  return *id;
}

result<package_id> updated_cloud_kernel() {
  ARCA_TRY(ended, run(get({"update"})));
  const std::string reason = reason_of(ended);
  if (ended.exit_code == 0) {  // also where some servers do not answer: what counts is whether the package is known now
    auto found = cloud_kernel();
    if (found) return found;
    if (reason.empty())
      return fail(errc::unavailable,
                  found.error().message() + ": add a package source of Debian 12 or give --deb FILE");
  }
  return fail(errc::unavailable, "the package lists cannot be fetched (" + reason + "): " + remedy);
}

result<record> look_up(const package_id& id) {
  ARCA_TRY(fields, show(id.name + "=" + id.version));
  record out{{fields["Package"], fields["Version"], fields["Architecture"]}, 0, fields["SHA256"]};
  const std::string size = fields["Size"];
  const auto [end, code] = std::from_chars(size.data(), size.data() + size.size(), out.size);
  if (!(out.id == id) || code != std::errc() || end != size.data() + size.size() || out.sha256.size() != 64)
    return fail(errc::not_found, "the package lists say neither size nor SHA256 of " + id.name + " " + id.version);
  return out;
}

result<std::string> download(const record& wanted, const std::string& folder) {
  ARCA_TRY(ended, run(get({"download", wanted.id.name + "=" + wanted.id.version}), folder));
  const std::string what = wanted.id.name + " " + wanted.id.version;
  if (ended.exit_code != 0)
    return fail(errc::unavailable, what + " cannot be downloaded (" + reason_of(ended) + "): " + remedy);
  ARCA_TRY(names, fs::list(folder));
  for (const auto& name : names) {
    if (!starts_with(name, wanted.id.name + "_") || !ends_with(name, ".deb")) continue;
    ARCA_TRY(digest, digest_of_file(folder + "/" + name));
    if (digest.sha256 == wanted.sha256 && digest.size == wanted.size) return folder + "/" + name;
    return fail(errc::unavailable, what + " came with a wrong checksum: run `arca setup` again");
  }
  return fail(errc::unavailable, what + " cannot be downloaded (apt-get left no file): " + std::string(remedy));
}

}  // namespace arca::vm::apt
