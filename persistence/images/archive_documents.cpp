#include "persistence/images/archive_documents.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca::images {
namespace {

using nlohmann::json;
constexpr size_t max_layers = 500;      // the kernel's bound for an overlay
constexpr size_t max_manifests = 1000;  // of one index

std::string text_of(const json& in, const char* key) {
  const auto found = in.is_object() ? in.find(key) : in.end();
  return found != in.end() && found->is_string() ? found->get<std::string>() : std::string();
}

tl::unexpected<error> bad(std::string message) {
  return fail(errc::invalid_argument, std::move(message));
}

/// Depth of nesting, strings left out; more would cost the parser memory and time for nothing.
bool nests_deeply(const std::string& text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 100) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

result<json> parse(const std::string& text) {
  if (nests_deeply(text)) return bad("exceeded max depth");
  json j = json::parse(text, nullptr, false);
  if (j.is_discarded()) return bad(json_complaint(text));
  return j;
}

result<std::vector<std::string>> texts_of(const json& in, const char* key, size_t limit) {
  std::vector<std::string> out;
  const auto found = in.find(key);
  if (found == in.end() || found->is_null()) return out;
  if (!found->is_array() || found->size() > limit) return bad(std::string("invalid ") + key + " in image archive");
  for (const auto& item : *found) {
    if (!item.is_string()) return bad(std::string("invalid ") + key + " in image archive");
    out.push_back(item.get<std::string>());
  }
  return out;
}

result<descriptor> parse_descriptor(const json& in) {
  descriptor d;
  d.media_type = text_of(in, "mediaType");
  d.digest = text_of(in, "digest");
  if (!is_digest(d.digest)) return bad("invalid digest " + go_quote(d.digest) + " in image archive");
  const auto size = in.find("size");
  if (size != in.end() && size->is_number_unsigned()) d.size = size->get<uint64_t>();
  if (const auto p = in.find("platform"); p != in.end() && p->is_object())
    d.runs_on = platform{text_of(*p, "os"), text_of(*p, "architecture"), text_of(*p, "variant")};
  if (const auto a = in.find("annotations"); a != in.end() && a->is_object()) {
    d.name = text_of(*a, "io.containerd.image.name");
    if (d.name.empty()) d.name = text_of(*a, "org.opencontainers.image.ref.name");
    d.attestation = a->contains("vnd.docker.reference.type");
  }
  return d;
}

/// Finds where the text stops being JSON.
struct complaint_finder : nlohmann::json_sax<json> {
  size_t position = 0;
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception&) override {
    position = at;
    return false;
  }
};

}  // namespace

std::string json_complaint(const std::string& text) {
  complaint_finder finder;
  if (json::sax_parse(text, &finder)) return {};
  if (finder.position == 0 || finder.position > text.size()) return "unexpected EOF";
  const char c = text[finder.position - 1];
  return "invalid character " + (c == '\'' ? std::string("'\\''") : "'" + std::string(1, c) + "'") +
         " looking for beginning of value";
}

bool descriptor::is_index() const {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

result<std::vector<archive_item>> parse_docker_manifest(const std::string& text) {
  ARCA_TRY(j, parse(text));
  std::vector<archive_item> out;
  if (j.is_null()) return out;
  if (!j.is_array() || j.size() > max_manifests) return bad("invalid manifest.json in image archive");
  for (const auto& item : j) {
    if (!item.is_object()) return bad("invalid manifest.json in image archive");
    archive_item one;
    one.config = text_of(item, "Config");
    ARCA_TRY(tags, texts_of(item, "RepoTags", 10'000));
    ARCA_TRY(layers, texts_of(item, "Layers", max_layers));
    one.repo_tags = std::move(tags);
    one.layers = std::move(layers);
    out.push_back(std::move(one));
  }
  return out;
}

result<oci_document> parse_oci(const std::string& text) {
  ARCA_TRY(j, parse(text));
  if (!j.is_object()) return bad("invalid OCI document in image archive");
  const bool index = j.contains("manifests"), manifest = j.contains("config") || j.contains("layers");
  if (index == manifest) return bad("ambiguous OCI document in image archive: neither or both of manifests and layers");
  oci_document out;
  out.is_index = index;
  const auto list_of = [&](const char* key, size_t limit, std::vector<descriptor>& into) -> result<void> {
    const auto found = j.find(key);
    if (found == j.end() || found->is_null()) return {};
    if (!found->is_array() || found->size() > limit) return bad(std::string("invalid ") + key + " in image archive");
    for (const auto& item : *found) {
      ARCA_TRY(d, parse_descriptor(item));
      into.push_back(std::move(d));
    }
    return {};
  };
  if (index) {
    ARCA_CHECK(list_of("manifests", max_manifests, out.manifests));
    return out;
  }
  const auto config = j.find("config");
  if (config == j.end() || !config->is_object()) return bad("OCI manifest without a config in image archive");
  ARCA_TRY(d, parse_descriptor(*config));
  out.config = std::move(d);
  ARCA_CHECK(list_of("layers", max_layers, out.layers));
  return out;
}

result<config_summary> parse_config(const std::string& text) {
  ARCA_TRY(j, parse(text));
  if (!j.is_object()) return bad("invalid image config");
  config_summary out;
  out.runs_on = {text_of(j, "os"), text_of(j, "architecture"), text_of(j, "variant")};
  const auto rootfs = j.find("rootfs");
  // Docker's words for a config that is no config.
  if (rootfs == j.end() || !rootfs->is_object()) return bad("invalid image JSON, no RootFS key");
  ARCA_TRY(diff_ids, texts_of(*rootfs, "diff_ids", max_layers));
  for (const auto& id : diff_ids)
    if (!is_digest(id)) return bad("invalid diff id " + go_quote(id) + " in image config");
  out.diff_ids = std::move(diff_ids);
  return out;
}

std::string full_reference(const std::string& familiar) {
  const size_t slash = familiar.find('/');
  if (slash == std::string::npos) return "docker.io/library/" + familiar;
  const std::string host = familiar.substr(0, slash);
  if (host == "localhost" || host.find_first_of(".:") != std::string::npos) return familiar;
  return "docker.io/" + familiar;
}

std::string familiar_reference(const std::string& full) {
  for (const std::string_view prefix :
       {"docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"})
    if (starts_with(full, prefix)) {
      const std::string rest = full.substr(prefix.size());
      // "docker.io/library/a/b" is "library/a/b".
      if (ends_with(prefix, "library/") && rest.find('/') != std::string::npos) return "library/" + rest;
      return rest;
    }
  return full;
}

}  // namespace arca::images
