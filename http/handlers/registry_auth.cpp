#include "http/handlers/registry_auth.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"

namespace arca::http {
namespace {
constexpr size_t longest = 64u << 10;

// As far as it is URL-safe base64 in whole groups of four: Go's decoder gives out no less, and its JSON decoder may
// have had enough by then.
std::string decoded(std::string_view header) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const auto end = std::min(header.find_first_not_of(alphabet), header.size());
  std::string text(header.substr(0, end));
  for (auto at = end; at < header.size() && header[at] == '=' && text.size() % 4 != 0; ++at) text += '=';
  text.resize(text.size() / 4 * 4);
  if (text.empty() || text.size() > longest) return {};
  const auto filler = std::count(text.end() - 4, text.end(), '=');
  if (filler > 2) return {};
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  std::string out(text.size() / 4 * 3, '\0');
  if (EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size())) < 0)
    return {};
  out.resize(out.size() - static_cast<size_t>(filler));
  return out;
}

}  // namespace

std::string registry_auth(std::string_view header) {
  const auto config = model::go::unmarshal(decoded(header), model::go::auth_config);
  return config ? model::dump(*config) : std::string();
}

}  // namespace arca::http
