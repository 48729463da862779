// For tests: tar streams made by hand, byte by byte, so that they can say what no honest writer says.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace arca::test {

struct tar_entry {
  std::string name;
  char type = '0';
  std::string data = {};
  std::string link = {};
  uint32_t mode = 0644;
  uint64_t uid = 0, gid = 0;
  int64_t mtime = 1'000'000'000;
  uint32_t major = 0, minor = 0;
  std::map<std::string, std::string> pax = {};
  int64_t claimed_size = -1;  ///< what the header says, when not data.size()
};

class tar_builder {
 public:
  tar_builder& add(const tar_entry& e) {
    auto pax = e.pax;
    if (e.name.size() > 99) pax.emplace("path", e.name);
    if (e.link.size() > 99) pax.emplace("linkpath", e.link);
    if (e.uid > 07777777) pax.emplace("uid", std::to_string(e.uid));
    if (e.gid > 07777777) pax.emplace("gid", std::to_string(e.gid));
    if (!pax.empty()) {
      std::string body;
      for (const auto& [key, value] : pax) body += record(key, value);
      block("PaxHeader", 'x', body, {}, {"PaxHeader"}, body.size());
    }
    block(e.name, e.type, e.data, e.link, e,
          e.claimed_size >= 0 ? static_cast<uint64_t>(e.claimed_size) : e.data.size());
    return *this;
  }
  tar_builder& file(const std::string& name, const std::string& data) { return add({name, '0', data}); }
  tar_builder& folder(const std::string& name, uint32_t mode = 0755) { return add({name + "/", '5', {}, {}, mode}); }
  tar_builder& symlink(const std::string& name, const std::string& to) { return add({name, '2', {}, to, 0777}); }
  tar_builder& hard_link(const std::string& name, const std::string& to) { return add({name, '1', {}, to}); }
  tar_builder& raw(const std::string& bytes) {
    out_ += bytes;
    return *this;
  }
  /// The stream with its end mark.
  std::string done() const { return out_ + std::string(1024, '\0'); }
  std::string unfinished() const { return out_; }

  static std::string record(const std::string& key, const std::string& value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t n = rest + 1;
    while (std::to_string(n).size() + rest != n) n = std::to_string(n).size() + rest;
    return std::to_string(n) + " " + key + "=" + value + "\n";
  }

 private:
  void block(const std::string& name, char type, const std::string& data, const std::string& link, const tar_entry& e,
             uint64_t size) {
    char h[512] = {};
    std::strncpy(h, name.c_str(), 100);
    std::snprintf(h + 100, 8, "%07o", e.mode);
    std::snprintf(h + 108, 8, "%07llo", static_cast<unsigned long long>(e.uid > 07777777 ? 0 : e.uid));
    std::snprintf(h + 116, 8, "%07llo", static_cast<unsigned long long>(e.gid > 07777777 ? 0 : e.gid));
    if (size < (uint64_t{1} << 33)) {
      std::snprintf(h + 124, 12, "%011llo", static_cast<unsigned long long>(size));
    } else {
      h[124] = static_cast<char>(0x80);
      for (int i = 0; i < 8; ++i) h[135 - i] = static_cast<char>(size >> (8 * i));
    }
    std::snprintf(h + 136, 12, "%011llo", static_cast<unsigned long long>(e.mtime < 0 ? 0 : e.mtime));
    h[156] = type;
    std::strncpy(h + 157, link.c_str(), 100);
    std::memcpy(h + 257,
                "ustar\0"
                "00",
                8);
    std::snprintf(h + 329, 8, "%07o", e.major);
    std::snprintf(h + 337, 8, "%07o", e.minor);
    std::memset(h + 148, ' ', 8);
    unsigned sum = 0;
    for (const char c : h) sum += static_cast<unsigned char>(c);
    std::snprintf(h + 148, 8, "%06o", sum);
    out_.append(h, sizeof h);
    out_ += data;
    if (data.size() % 512 != 0) out_.append(512 - data.size() % 512, '\0');
  }
  std::string out_;
};

}  // namespace arca::test
