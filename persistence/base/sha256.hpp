// Streaming SHA-256 (OpenSSL's EVP, which uses the CPU's instructions).
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace arca {

class sha256 {
 public:
  sha256();
  ~sha256();
  sha256(sha256&&) noexcept;
  sha256& operator=(sha256&&) noexcept;
  void update(const void* data, size_t size);
  void update(std::string_view data) { update(data.data(), data.size()); }
  /// 64 hex digits; ends the computation.
  std::string hex();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// "sha256:" and 64 hex digits.
std::string digest_of(std::string_view data);

}  // namespace arca
