#include "persistence/images/layer_meta.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::images {
namespace {

/// Paths are bytes; JSON is not.
std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

bool is_hex(const std::string& text) {
  return text.size() % 2 == 0 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

std::string to_json(const layer_meta& meta) {
  nlohmann::ordered_json j{{"version", 1},
                           {"chain_id", meta.info.chain_id},
                           {"diff_id", meta.info.diff_id},
                           {"size", meta.info.size},
                           {"tar_size", meta.info.tar_size},
                           {"blob_digest", meta.info.blob_digest},
                           {"blob_size", meta.info.blob_size},
                           {"blob_media_type", meta.info.blob_media_type},
                           {"synced", meta.synced},
                           {"boot_id", meta.boot_id}};
  if (!meta.replaced.empty()) {
    auto& list = j["replaced"];
    for (const auto& r : meta.replaced)
      list.push_back({{"path_hex", to_hex(r.path.data(), r.path.size())}, {"before", r.before}});
  }
  return j.dump(1, '\t', false, nlohmann::json::error_handler_t::replace) + "\n";
}

result<layer_meta> parse_layer_meta(const std::string& text) {
  const auto j = nlohmann::json::parse(text, nullptr, false);
  const auto broken = fail(errc::internal, "meta.json of a layer is broken");
  if (!j.is_object() || j.value("version", nlohmann::json()) != 1) return broken;
  layer_meta out;
  const auto text_of = [&](const char* key, std::string& into) {
    const auto found = j.find(key);
    if (found == j.end() || !found->is_string()) return false;
    into = found->get<std::string>();
    return true;
  };
  const auto number_of = [](const nlohmann::json& in, const char* key, uint64_t& into) {
    const auto found = in.find(key);
    if (found == in.end() || !found->is_number_unsigned()) return false;
    into = found->get<uint64_t>();
    return true;
  };
  if (!text_of("chain_id", out.info.chain_id) || !text_of("diff_id", out.info.diff_id) ||
      !text_of("blob_digest", out.info.blob_digest) || !text_of("blob_media_type", out.info.blob_media_type) ||
      !text_of("boot_id", out.boot_id) || !number_of(j, "size", out.info.size) ||
      !number_of(j, "tar_size", out.info.tar_size) || !number_of(j, "blob_size", out.info.blob_size))
    return broken;
  if (!is_digest(out.info.chain_id) || !is_digest(out.info.diff_id)) return broken;
  const auto synced = j.find("synced");
  out.synced = synced != j.end() && synced->is_boolean() && synced->get<bool>();
  if (const auto list = j.find("replaced"); list != j.end()) {
    if (!list->is_array()) return broken;
    for (const auto& item : *list) {
      replaced_file r;
      const auto path = item.is_object() ? item.find("path_hex") : item.end();
      if (!item.is_object() || path == item.end() || !path->is_string() || !number_of(item, "before", r.before) ||
          !is_hex(path->get<std::string>()))
        return broken;
      r.path = from_hex(path->get<std::string>());
      out.replaced.push_back(std::move(r));
    }
  }
  return out;
}

std::string current_boot_id() {
  std::string id = fs::read_file("/proc/sys/kernel/random/boot_id", 128).value_or("");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

}  // namespace arca::images
