// For tests: a layer store in a folder that goes with it, and packing.
#pragma once
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca::test {

struct scratch_store {
  explicit scratch_store(images::layer_limits l = {}) : limits(l) { reopen(); }
  ~scratch_store() {
    store.reset();
    static_cast<void>(fs::remove_tree(root));
  }
  void reopen() {
    store.reset();
    auto opened = images::layer_store::open(folder, limits);
    REQUIRE(opened);
    store = std::move(*opened);
  }
  images::layer_limits limits;
  std::string root = (std::getenv("ARCA_TEST_DIR") != nullptr ? std::getenv("ARCA_TEST_DIR") : "/tmp") +
                     ("/arca-images-test-" + random_hex(6));
  std::string folder = root + "/layers";
  std::unique_ptr<images::layer_store> store;
};

inline std::string gzip(const std::string& data) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, data.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

inline std::string zstd(const std::string& data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 1));
  return out;
}

/// What Docker shows as the size of a layer.
inline uint64_t lstat_size(const std::string& folder) {
  uint64_t size = 0;
  std::set<ino_t> seen;
  for (const auto& e : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat st {};
    REQUIRE(::lstat(e.path().c_str(), &st) == 0);
    if (!S_ISDIR(st.st_mode) && seen.insert(st.st_ino).second) size += static_cast<uint64_t>(st.st_size);
  }
  return size;
}

}  // namespace arca::test
