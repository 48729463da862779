#include "guest/channel/handshake.hpp"

#include <algorithm>

#include "guest/proto/vm_start.hpp"

namespace arca::guest {
namespace {
using namespace vm_start;
constexpr std::string_view magic = line_magic;
constexpr size_t secret_at = magic.size();
constexpr size_t nonce_at = secret_at + secret_digits + 1;

bool all_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// As long for a wrong guess as for a good one: what a container writes can come by here.
bool same(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}
}  // namespace

bool handshake::is_line(std::string_view at) const {
  if (at.size() < line_length || at.substr(0, magic.size()) != magic || at[nonce_at - 1] != ' ' ||
      at[line_length - 1] != '\n' || !all_hex(at.substr(secret_at, secret_digits)) ||
      !all_hex(at.substr(nonce_at, nonce_digits)))
    return false;
  return secret_.empty() || same(at.substr(secret_at, secret_digits), secret_);
}

std::string handshake::search(std::string_view bytes) {
  tail_ += bytes;
  const std::string_view all = tail_;
  std::string found;
  size_t behind = 0;
  for (size_t at = 0; (at = all.find(magic, at)) != std::string_view::npos;) {
    if (!is_line(all.substr(at))) {
      ++at;
      continue;
    }
    found = all.substr(at, line_length);
    if (secret_.empty()) secret_ = found.substr(secret_at, secret_digits);
    behind = at += line_length;
  }
  tail_.erase(0, std::max(behind, tail_.size() - std::min(tail_.size(), line_length - 1)));
  return found;
}

std::string handshake::at_start(std::string_view bytes) const {
  std::string found;
  while (!secret_.empty() && is_line(bytes)) {
    found = bytes.substr(0, line_length);
    bytes.remove_prefix(line_length);
  }
  return found;
}

}  // namespace arca::guest
