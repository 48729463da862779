// Names of images as people write them: "busybox", "ghcr.io/a/b:1", "x@sha256:…". The grammar and the error texts are
// those of github.com/distribution/reference, which Docker uses.
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::registry {

/// A valid, normalised name: it has a domain ("docker.io" for Docker Hub), the path has "library/" where a person
/// leaves it out. Tag and digest are empty when not given. The domain is empty for odd names like "a_b.c/x" only, which
/// the grammar allows and no registry can have.
class reference {
 public:
  /// Docker's ParseNormalizedNamed. errc::invalid_argument "invalid reference format", "invalid reference format:
  /// repository name (library/X) must be lowercase", "repository name must not be more than 255 characters" …
  static result<reference> parse(std::string_view text);

  const std::string& domain() const noexcept { return domain_; }
  const std::string& path() const noexcept { return path_; }
  const std::string& tag() const noexcept { return tag_; }
  const std::string& digest() const noexcept { return digest_; }
  bool name_only() const noexcept { return tag_.empty() && digest_.empty(); }

  std::string name() const;           ///< "docker.io/library/busybox"
  std::string string() const;         ///< name, ":tag", "@digest"
  std::string familiar_name() const;  ///< "busybox"
  std::string familiar() const;       ///< "busybox:1"

  reference trimmed() const;                               ///< without tag and digest
  reference with_latest() const;                           ///< ":latest" added to a bare name
  reference favor_digest() const;                          ///< the tag dropped when there is a digest
  result<reference> with_tag(std::string_view tag) const;  ///< errc::invalid_argument "invalid tag format"
  /// `digest` as parse_digest accepts it.
  result<reference> with_digest(std::string_view digest) const;

  friend bool operator==(const reference&, const reference&) = default;

 private:
  std::string domain_, path_, tag_, digest_;
};

/// Checks "sha256:…", "sha384:…", "sha512:…". errc::invalid_argument "invalid checksum digest format", "unsupported
/// digest algorithm", "invalid checksum digest length".
result<void> parse_digest(std::string_view text);
/// 64 lower-case hex digits?
bool is_identifier(std::string_view text) noexcept;

}  // namespace arca::registry
