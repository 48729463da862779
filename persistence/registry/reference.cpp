#include "persistence/registry/reference.hpp"

#include <algorithm>
#include <vector>

#include "persistence/base/text.hpp"

namespace arca::registry {
namespace {
constexpr std::string_view default_domain = "docker.io";
constexpr std::string_view legacy_domain = "index.docker.io";
constexpr std::string_view official = "library/";
constexpr size_t max_path = 255;
constexpr size_t max_tag = 128;

bool digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool lower_case(char c) noexcept {
  return c >= 'a' && c <= 'z';
}
bool letter(char c) noexcept {
  return lower_case(c) || (c >= 'A' && c <= 'Z');
}
bool alphanumeric(char c) noexcept {
  return lower_case(c) || digit(c);
}
bool hex_digit(char c) noexcept {
  return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool lower_hex(char c) noexcept {
  return digit(c) || (c >= 'a' && c <= 'f');
}

bool has_upper(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// tag := /[\w][\w.-]{0,127}/
bool is_tag(std::string_view text) noexcept {
  if (text.empty() || text.size() > max_tag) return false;
  const auto word = [](char c) { return letter(c) || digit(c) || c == '_'; };
  if (!word(text[0])) return false;
  return std::all_of(text.begin() + 1, text.end(), [&](char c) { return word(c) || c == '.' || c == '-'; });
}

// digest := component ([+.-_] component)* ":" hex{32,}; component := /[A-Za-z][A-Za-z0-9]*/
bool is_digest_form(std::string_view text) noexcept {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  bool start = true;
  for (const char c : text.substr(0, colon)) {
    if (start) {
      if (!letter(c)) return false;
      start = false;
    } else if (c == '-' || c == '_' || c == '+' || c == '.') {
      start = true;
    } else if (!letter(c) && !digit(c)) {
      return false;
    }
  }
  const auto hex = text.substr(colon + 1);
  return !start && hex.size() >= 32 && std::all_of(hex.begin(), hex.end(), hex_digit);
}

// path-component := alpha-numeric (separator alpha-numeric)*; separator := "." | "_" | "__" | "-"+
bool is_path_component(std::string_view text) noexcept {
  size_t at = 0;
  for (;;) {
    const size_t begin = at;
    while (at < text.size() && alphanumeric(text[at])) ++at;
    if (at == begin) return false;
    if (at == text.size()) return true;
    if (text[at] == '.') {
      ++at;
    } else if (text[at] == '_') {
      at += text.substr(at).starts_with("__") ? 2 : 1;
    } else if (text[at] == '-') {
      while (at < text.size() && text[at] == '-') ++at;
    } else {
      return false;
    }
  }
}

bool is_path(std::string_view text) {
  for (;;) {
    const auto slash = text.find('/');
    if (!is_path_component(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

// domain-component := /[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]/
bool is_domain_name(std::string_view text) {
  for (;;) {
    const auto dot = text.find('.');
    const auto part = text.substr(0, dot);
    if (part.empty() || part.front() == '-' || part.back() == '-') return false;
    if (!std::all_of(part.begin(), part.end(), [](char c) { return letter(c) || digit(c) || c == '-'; })) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// domain := (domain-name | "[" IPv6 "]") (":" digits)?
bool is_domain(std::string_view text) {
  if (text.empty()) return false;
  std::string_view port;
  bool with_port = false;
  std::string_view host = text;
  if (text[0] == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return false;
    const auto address = text.substr(1, end - 1);
    if (address.empty() ||
        !std::all_of(address.begin(), address.end(), [](char c) { return hex_digit(c) || c == ':'; }))
      return false;
    const auto rest = text.substr(end + 1);
    if (rest.empty()) return true;
    if (rest[0] != ':') return false;
    port = rest.substr(1);
    with_port = true;
    host = {};
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    with_port = true;
  }
  if (with_port && (port.empty() || !std::all_of(port.begin(), port.end(), digit))) return false;
  return text[0] == '[' || is_domain_name(host);
}

struct parts {
  std::string domain, path, tag, digest;
};

// The whole grammar; `text` always begins with a domain here.
bool match(std::string_view text, parts& out) {
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    out.digest = text.substr(at + 1);
    if (!is_digest_form(out.digest)) return false;
    text = text.substr(0, at);
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  if (const auto colon = text.find(':', slash); colon != std::string_view::npos) {
    out.tag = text.substr(colon + 1);
    if (!is_tag(out.tag)) return false;
    text = text.substr(0, colon);
  }
  out.domain = text.substr(0, slash);
  out.path = text.substr(slash + 1);
  if (is_domain(out.domain)) return is_path(out.path);
  // "foo_bar.com/x" looks like a domain and is none: the grammar then takes it as a path without a domain.
  out.domain.clear();
  out.path = text;
  return is_path(out.path);
}

void split_domain(std::string_view text, std::string& domain, std::string& rest) {
  const auto slash = text.find('/');
  const auto first = text.substr(0, slash);
  if (slash == std::string_view::npos) {
    domain = default_domain;
    rest = std::string(official) + std::string(text);
    return;
  }
  if (first == legacy_domain) {
    domain = default_domain;
    rest = text.substr(slash + 1);
  } else if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos || has_upper(first)) {
    domain = first;
    rest = text.substr(slash + 1);
  } else {
    domain = default_domain;
    rest = text;
  }
  if (domain == default_domain && rest.find('/') == std::string::npos) rest.insert(0, official);
}
}  // namespace

bool is_identifier(std::string_view text) noexcept {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), lower_hex);
}

result<void> parse_digest(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size())
    return fail(errc::invalid_argument, "invalid checksum digest format");
  const auto algorithm = text.substr(0, colon);
  const auto hex = text.substr(colon + 1);
  const size_t size = algorithm == "sha256" ? 64 : algorithm == "sha384" ? 96 : algorithm == "sha512" ? 128 : 0;
  if (size == 0)
    return fail(errc::invalid_argument,
                is_digest_form(text) ? "unsupported digest algorithm" : "invalid checksum digest format");
  if (hex.size() != size) return fail(errc::invalid_argument, "invalid checksum digest length");
  if (!std::all_of(hex.begin(), hex.end(), lower_hex))
    return fail(errc::invalid_argument, "invalid checksum digest format");
  return {};
}

result<reference> reference::parse(std::string_view text) {
  if (is_identifier(text))
    return fail(errc::invalid_argument,
                "invalid repository name (" + std::string(text) + "), cannot specify 64-byte hexadecimal strings");
  std::string domain, rest;
  split_domain(text, domain, rest);
  const auto remote = rest.substr(0, rest.find(':'));
  if (has_upper(remote))
    return fail(errc::invalid_argument, "invalid reference format: repository name (" + remote + ") must be lowercase");
  parts found;
  const std::string whole = domain + '/' + rest;
  if (!match(whole, found)) {
    parts ignored;
    if (has_upper(whole) && match(lower(whole), ignored))
      return fail(errc::invalid_argument, "repository name must be lowercase");
    return fail(errc::invalid_argument, "invalid reference format");
  }
  if (found.path.size() > max_path)
    return fail(errc::invalid_argument, "repository name must not be more than 255 characters");
  if (!found.digest.empty()) ARCA_CHECK(parse_digest(found.digest));
  reference out;
  out.domain_ = std::move(found.domain);
  out.path_ = std::move(found.path);
  out.tag_ = std::move(found.tag);
  out.digest_ = std::move(found.digest);
  return out;
}

std::string reference::name() const {
  return domain_.empty() ? path_ : domain_ + '/' + path_;
}

std::string reference::string() const {
  std::string out = name();
  if (!tag_.empty()) out += ':' + tag_;
  if (!digest_.empty()) out += '@' + digest_;
  return out;
}

std::string reference::familiar_name() const {
  if (domain_ != default_domain) return name();
  if (path_.starts_with(official) && path_.find('/', official.size()) == std::string::npos)
    return path_.substr(official.size());
  return path_;
}

std::string reference::familiar() const {
  std::string out = familiar_name();
  if (!tag_.empty()) out += ':' + tag_;
  if (!digest_.empty()) out += '@' + digest_;
  return out;
}

reference reference::trimmed() const {
  reference out = *this;
  out.tag_.clear();
  out.digest_.clear();
  return out;
}

reference reference::with_latest() const {
  reference out = *this;
  if (name_only()) out.tag_ = "latest";
  return out;
}

reference reference::favor_digest() const {
  reference out = *this;
  if (!digest_.empty()) out.tag_.clear();
  return out;
}

result<reference> reference::with_tag(std::string_view tag) const {
  if (!is_tag(tag)) return fail(errc::invalid_argument, "invalid tag format");
  reference out = *this;
  out.tag_ = tag;
  return out;
}

result<reference> reference::with_digest(std::string_view digest) const {
  ARCA_CHECK(parse_digest(digest));
  reference out = *this;
  out.digest_ = digest;
  return out;
}

}  // namespace arca::registry
