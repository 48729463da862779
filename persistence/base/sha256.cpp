#include "persistence/base/sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "persistence/base/text.hpp"

namespace arca {

struct sha256::state {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  state() {
    if (context == nullptr || EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1)
      throw std::runtime_error("SHA-256 is not available");
  }
  ~state() { EVP_MD_CTX_free(context); }
  state(const state&) = delete;
  state& operator=(const state&) = delete;
};

sha256::sha256() : state_(std::make_unique<state>()) {}
sha256::~sha256() = default;
sha256::sha256(sha256&&) noexcept = default;
sha256& sha256::operator=(sha256&&) noexcept = default;

void sha256::update(const void* data, size_t size) {
  EVP_DigestUpdate(state_->context, data, size);
}

std::string sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, out.data(), &size);
  return to_hex(out.data(), size);
}

std::string digest_of(std::string_view data) {
  sha256 hash;
  hash.update(data);
  return "sha256:" + hash.hex();
}

}  // namespace arca
