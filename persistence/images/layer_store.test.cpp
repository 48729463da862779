#include "persistence/images/layer_store.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <thread>

#include "persistence/archive/test_tar.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/test_store.hpp"

using namespace arca;
using images::layer_store;
using test::tar_builder;

namespace {

std::string noise(size_t size) {
  std::mt19937_64 random(size);
  std::string out(size, '\0');
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

result<images::layer_info> put(layer_store& store, const std::string& blob, images::layer_expectation expected = {},
                               size_t piece = 50'000) {
  ARCA_TRY(writer, store.begin(std::move(expected)));
  for (size_t at = 0; at < blob.size(); at += piece) ARCA_CHECK(writer->feed(std::string_view(blob).substr(at, piece)));
  ARCA_CHECK(writer->finish());
  return writer->commit(writer->info().diff_id);
}

std::string tar_of(const layer_store& store, const std::string& chain) {
  std::string out;
  const auto done = store.read_tar(chain, [&](std::string_view bytes) -> result<void> {
    out += bytes;
    return {};
  });
  INFO((done ? std::string() : done.error().message()));
  REQUIRE(done);
  return out;
}

std::string odd_tar() {
  tar_builder t;
  t.folder("d").file("d/a", "first version").file("empty", "").file("d/a", "second").file("big", noise(3'000'000));
  t.file("d/x/y", "goes with its folder").symlink("l", "d").file("l/through", "link").file("d/through", "again");
  t.hard_link("h", "big").file("h", "no link any more").folder("r").file("r/1", "one").file("r", "file now");
  t.file("d/a", "third").file(".wh.gone", "a whiteout with content").file("zeros", std::string(300'000, '\0'));
  t.add({"null", '3', {}, {}, 0666});
  std::string map = "2\n0\n5\n1000000\n3\n";
  map.resize(512);
  test::tar_entry sparse{"GNUSparseFile.0/s", '0', map + "helloend"};
  sparse.pax = {{"GNU.sparse.major", "1"},
                {"GNU.sparse.minor", "0"},
                {"GNU.sparse.name", "s"},
                {"GNU.sparse.realsize", "1000003"}};
  t.add(sparse);
  t.add({"d/\xe9\xff", '0', "latin"});
  for (int i = 0; i < 3000; ++i) t.file("many/" + std::to_string(i), i % 3 == 0 ? "" : noise(static_cast<size_t>(i)));
  for (int i = 0; i < 3000; ++i) t.folder("dirs/" + std::to_string(i));
  t.file("last", "end");
  return t.done() + std::string(9216, '\0') + "bytes after the end";
}

int entries(const std::string& folder) {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("a layer comes back byte by byte, however it was packed") {
  test::scratch_store s;
  const std::string tar = odd_tar();
  const std::string diff_id = digest_of(tar);
  std::string blob = tar;
  bool compressed = true;
  SECTION("plain") {
    compressed = false;
  }
  SECTION("gzip") {
    blob = test::gzip(tar);
  }
  SECTION("gzip in several members") {
    blob = test::gzip(tar.substr(0, 1'000'000)) + test::gzip("") + test::gzip(tar.substr(1'000'000)) +
           std::string(100, '\0');
  }
  SECTION("zstd") {
    blob = test::zstd(tar);
  }
  SECTION("zstd in two frames") {
    blob = test::zstd(tar.substr(0, 777)) + test::zstd(tar.substr(777));
  }
  for (const size_t piece : {size_t{7919}, size_t{1} << 20}) {
    const auto info = put(*s.store, blob, {digest_of(blob), blob.size(), diff_id, "type"}, piece);
    INFO((info ? std::string() : info.error().message()));
    REQUIRE(info);
    CHECK(info->diff_id == diff_id);
    CHECK(info->tar_size == tar.size());
    CHECK(info->blob_digest == (compressed ? digest_of(blob) : ""));
    CHECK(info->blob_size == (compressed ? blob.size() : 0));
    CHECK(fs::read_file(info->diff_dir + "/d/a").value() == "third");
    CHECK(fs::read_file(info->diff_dir + "/h").value() == "no link any more");
    CHECK(tar_of(*s.store, diff_id) == tar);
    // An engine that starts anew finds the same.
    s.reopen();
    CHECK(s.store->find(diff_id)->size == info->size);
    CHECK(s.store->find(diff_id)->size == test::lstat_size(info->diff_dir));
    CHECK(tar_of(*s.store, diff_id) == tar);
    REQUIRE(s.store->remove(diff_id));
    CHECK(entries(s.folder) == 0);
  }
}

TEST_CASE("nothing unverified becomes visible") {
  test::scratch_store s;
  const std::string tar = tar_builder().file("a", noise(2'000'000)).done();
  const std::string blob = test::gzip(tar);
  const std::string other = digest_of("other");
  std::string expected;
  result<images::layer_info> r = fail(errc::none, "");
  SECTION("wrong blob digest") {
    r = put(*s.store, blob, {other, 0, {}, {}});
    expected = "filesystem layer verification failed for digest " + other;
  }
  SECTION("wrong diff id") {
    r = put(*s.store, blob, {{}, 0, other, {}});
  }
  SECTION("too long") {
    r = put(*s.store, blob + "more", {{}, blob.size(), {}, {}});
    expected = "layer is longer than its size says";
  }
  SECTION("too short") {
    r = put(*s.store, blob.substr(0, blob.size() - 1000), {digest_of(blob), blob.size(), {}, {}});
    expected = "unexpected EOF";
  }
  SECTION("cut, and nobody knows the size") {
    r = put(*s.store, blob.substr(0, blob.size() / 2));
    expected = "unexpected EOF";
  }
  SECTION("a small one cut") {
    r = put(*s.store, test::gzip("hello").substr(0, 12));
    expected = "unexpected EOF";
  }
  SECTION("zstd cut") {
    const std::string z = test::zstd(tar);
    r = put(*s.store, z.substr(0, z.size() / 2));
    expected = "unexpected EOF";
  }
  SECTION("a flipped bit") {
    std::string bad = blob;
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 4);
    r = put(*s.store, bad);
  }
  SECTION("a wrong checksum") {
    std::string bad = blob;
    bad[bad.size() - 6] = static_cast<char>(bad[bad.size() - 6] ^ 4);
    r = put(*s.store, bad);
  }
  SECTION("garbage after the member") {
    r = put(*s.store, blob + "garbage");
    expected = "gzip: invalid header";
  }
  SECTION("HTML instead of a layer") {
    std::string html = "<html>";
    while (html.size() < 5000) html += "<p>Please log in</p>";
    r = put(*s.store, html);
    expected = "archive/tar: invalid tar header";
  }
  SECTION("a hostile tar") {
    r = put(*s.store, test::gzip(tar_builder().file("../x", "x").done()));
  }
  REQUIRE_FALSE(r);
  INFO(r.error().message());
  CHECK(r.error().message().find(expected) != std::string::npos);
  CHECK(s.store->list().empty());
  CHECK(entries(s.folder) == 0);
}

TEST_CASE("bombs are stopped") {
  images::layer_limits limits;
  limits.ratio_from = 16u << 20;
  limits.max_ratio = 100;
  limits.max_tar = 200u << 20;
  test::scratch_store s(limits);
  std::string big = tar_builder().file("zeros", std::string(100u << 20, '\0')).done();
  auto r = put(*s.store, test::gzip(big));
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "layer expands more than 100 times");
  // One that fits into a single buffer takes the other way through the pipeline.
  r = put(*s.store, test::zstd(big));
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "layer expands more than 100 times");
  CHECK(put(*s.store, big));
  big = tar_builder().file("zeros", std::string(210u << 20, '\0')).done();
  r = put(*s.store, big);
  REQUIRE_FALSE(r);
  CHECK(r.error().message() == "layer has more than 209715200 bytes");
}

TEST_CASE("a crash leaves nothing, damage is set aside") {
  test::scratch_store s;
  const auto good = put(*s.store, tar_builder().file("a", "a").done()).value();
  const auto hurt = put(*s.store, tar_builder().file("b", "b").done()).value();
  const auto hollow = put(*s.store, tar_builder().file("c", "content").done()).value();
  const auto safe = put(*s.store, tar_builder().file("d", "d").done()).value();
  REQUIRE(s.store->sync());
  const auto late = put(*s.store, tar_builder().file("e", "content").done()).value();
  REQUIRE(fs::make_dirs(s.folder + "/tmp-0123/diff"));
  REQUIRE(fs::write_file_atomic(s.folder + "/" + images::hex_of(hurt.chain_id) + "/meta.json", "{"));
  // As after a power cut: another boot, and a file that never reached the disk. Only what was not synced is suspected.
  for (const auto* layer : {&hollow, &late}) {
    REQUIRE(::truncate((layer->diff_dir + (layer == &hollow ? "/c" : "/e")).c_str(), 0) == 0);
    const std::string file = s.folder + "/" + images::hex_of(layer->chain_id) + "/meta.json";
    std::string meta = fs::read_file(file).value();
    meta.replace(meta.find("boot_id\": \"") + 11, 8, "00000000");
    if (layer == &hollow) meta.replace(meta.find("\"synced\": true"), 14, "\"synced\": false");
    REQUIRE(fs::write_file_atomic(file, meta));
  }
  s.reopen();
  CHECK(s.store->find(good.chain_id));
  CHECK(s.store->find(safe.chain_id));
  CHECK_FALSE(s.store->find(hurt.chain_id));
  CHECK_FALSE(s.store->find(hollow.chain_id));
  CHECK_FALSE(s.store->find(late.chain_id));
  CHECK(s.store->list().size() == 2);
  int broken = 0;
  for (const auto& e : std::filesystem::directory_iterator(s.folder))
    broken += e.path().filename().string().find("broken-") == 0 ? 1 : 0;
  CHECK(broken == 3);
  CHECK_FALSE(std::filesystem::exists(s.folder + "/tmp-0123"));
  // A changed file is noticed when the tar is read.
  REQUIRE(fs::write_file_atomic(good.diff_dir + "/a", "b"));
  const auto read = s.store->read_tar(good.chain_id, [](std::string_view) -> result<void> { return {}; });
  REQUIRE_FALSE(read);
  CHECK(read.error().message().find("was changed on disk") != std::string::npos);
}

TEST_CASE("several layers at once, the same one twice, one given up") {
  test::scratch_store s;
  std::vector<std::string> blobs;
  for (int i = 0; i < 4; ++i)
    blobs.push_back(test::gzip(tar_builder().file("n", std::to_string(i)).file("d", noise(4'000'000)).done()));
  blobs.push_back(blobs[0]);
  std::vector<std::thread> threads;
  std::vector<result<images::layer_info>> results(blobs.size(), fail(errc::none, ""));
  for (size_t i = 0; i < blobs.size(); ++i) threads.emplace_back([&, i] { results[i] = put(*s.store, blobs[i]); });
  threads.emplace_back([&] {
    auto writer = s.store->begin().value();
    CHECK(writer->feed(std::string_view(blobs[1]).substr(0, 3'000'000)));
  });
  threads.emplace_back([&] {
    auto writer = s.store->begin().value();
    std::thread other([&] { writer->cancel(); });
    result<void> fed;
    for (int i = 0; i < 100 && fed; ++i) fed = writer->feed(blobs[2]);
    other.join();
    writer->cancel();
    CHECK_FALSE(writer->finish());
  });
  for (auto& t : threads) t.join();
  for (const auto& r : results) CHECK(r);
  CHECK(results[0]->chain_id == results[4]->chain_id);
  CHECK(s.store->list().size() == 4);
  CHECK(entries(s.folder) == 4);
}

TEST_CASE("chain ids follow the OCI rule") {
  const std::string a = digest_of("a"), b = digest_of("b"), c = digest_of("c");
  const auto chains = images::chain_ids({a, b, c});
  CHECK(chains[0] == a);
  CHECK(chains[1] == digest_of(a + " " + b));
  CHECK(chains[2] == digest_of(chains[1] + " " + c));
  CHECK(images::is_digest(a));
  CHECK_FALSE(images::is_digest(a + "0"));
  CHECK_FALSE(images::is_digest("sha256:" + std::string(64, 'G')));
}

TEST_CASE("an empty stream is an empty layer") {
  test::scratch_store s;
  const auto info = put(*s.store, "");
  REQUIRE(info);
  CHECK(info->diff_id == digest_of(""));
  CHECK(tar_of(*s.store, info->chain_id).empty());
}
