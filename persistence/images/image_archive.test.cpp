#include "persistence/images/image_archive.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "persistence/archive/member_reader.hpp"
#include "persistence/archive/test_tar.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/images/archive_documents.hpp"
#include "persistence/images/test_store.hpp"

using namespace arca;
using images::loaded_image;
using nlohmann::json;
using test::tar_builder;

namespace {

struct made_image {
  std::vector<std::string> layers;  // tars
  std::string config, id;
  explicit made_image(std::vector<std::string> l, const std::string& architecture = "amd64",
                      const std::string& os = "linux")
      : layers(std::move(l)) {
    std::vector<std::string> diffs;
    for (const auto& layer : layers) diffs.push_back(digest_of(layer));
    config = json{{"architecture", architecture},
                  {"os", os},
                  {"created", "2024-01-02T03:04:05Z"},
                  {"config", {{"Cmd", {"sh"}}}},
                  {"rootfs", {{"type", "layers"}, {"diff_ids", diffs}}}}
                 .dump();
    id = digest_of(config);
  }
  std::string hex() const { return images::hex_of(id); }
};

std::string layer(const std::string& name) {
  return tar_builder().file(name, "content of " + name).done();
}

std::string manifest_json(const made_image& image, const std::vector<std::string>& names, const json& tags) {
  return json::array({{{"Config", image.hex() + ".json"}, {"RepoTags", tags}, {"Layers", names}}}).dump();
}

/// An OCI layout: `compress` packs the layers; `index_around` puts an index between index.json and the manifest.
struct oci_blobs {
  tar_builder tar;
  std::string add(const std::string& data) {
    tar.file("blobs/sha256/" + images::hex_of(digest_of(data)), data);
    return digest_of(data);
  }
  json add_image(const made_image& image, bool compress) {
    json layers = json::array();
    for (const auto& l : image.layers) {
      const std::string blob = compress ? test::gzip(l) : l;
      layers.push_back(
          {{"mediaType", "application/vnd.oci.image.layer.v1.tar"}, {"digest", add(blob)}, {"size", blob.size()}});
    }
    add(image.config);
    const std::string manifest = json{
        {"schemaVersion", 2},
        {"config", {{"digest", image.id}, {"size", image.config.size()}}},
        {"layers", layers}}.dump();
    return {{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
            {"digest", add(manifest)},
            {"size", manifest.size()}};
  }
  json add_index(const json& manifests) {
    const std::string index = json{{"schemaVersion", 2}, {"manifests", manifests}}.dump();
    return {{"mediaType", "application/vnd.oci.image.index.v1+json"}, {"digest", add(index)}, {"size", index.size()}};
  }
  std::string done(const json& manifests) {
    tar.file("index.json", json{{"schemaVersion", 2}, {"manifests", manifests}}.dump());
    return tar.file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})").done();
  }
};

result<std::vector<loaded_image>> load(test::scratch_store& s, const std::string& archive,
                                       images::load_options options = {}) {
  return images::load(*s.store, archive::source_of(std::string_view(archive)), options);
}

std::string save(test::scratch_store& s, const std::vector<images::saved_image>& list) {
  std::string out;
  const auto done = images::save(*s.store, list, [&](std::string_view bytes) -> result<void> {
    out += bytes;
    return {};
  });
  INFO((done ? std::string() : done.error().message()));
  REQUIRE(done);
  return out;
}

std::map<std::string, std::string> members(const std::string& tar) {
  std::map<std::string, std::string> out;
  archive::member_reader reader(archive::source_of(std::string_view(tar)));
  archive::member_header header;
  for (;;) {
    const auto more = reader.next(header);
    REQUIRE(more);
    if (!*more) return out;
    out[header.name] = reader.read_all(1u << 30).value();
  }
}

int left_over(const test::scratch_store& s) {
  int n = 0;
  for (const auto& e : std::filesystem::directory_iterator(s.folder))
    n += e.path().filename().string().find("tmp-") == 0 ? 1 : 0;
  return n;
}

}  // namespace

TEST_CASE("images for another platform than the wanted are passed over") {
  const made_image amd({layer("a")}), arm({layer("b")}, "arm64");
  const auto manifest = [](const made_image& image, const std::string& tag) {
    return json::parse(manifest_json(image, {image.hex() + "/layer.tar"}, json::array({tag})))[0];
  };
  const std::string tar = tar_builder()
                              .file(amd.hex() + "/layer.tar", amd.layers[0])
                              .file(arm.hex() + "/layer.tar", arm.layers[0])
                              .file(amd.hex() + ".json", amd.config)
                              .file(arm.hex() + ".json", arm.config)
                              .file("manifest.json", json::array({manifest(amd, "a:1"), manifest(arm, "a:2")}).dump())
                              .done();
  test::scratch_store s;
  images::load_options options;
  options.wanted = {"linux", "arm64", ""};
  const auto loaded = load(s, tar, options);
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 1);
  CHECK(loaded->front().repo_tags == std::vector<std::string>{"a:2"});
  CHECK_FALSE(s.store->find(digest_of(amd.layers[0])));
  options.wanted = {"linux", "s390x", ""};
  const auto none = load(s, tar, options);
  REQUIRE_FALSE(none);
  CHECK(none.error().message() == "no suitable image found for platform linux/s390x");
  CHECK(load(s, tar)->size() == 2);
  CHECK(left_over(s) == 0);
}

TEST_CASE("what the store has is not unpacked again, whatever its member is called") {
  const made_image image({layer("a"), layer("b")});
  oci_blobs oci;
  const json packed = oci.add_image(image, true);
  const std::string archives[] = {
      tar_builder()
          .file("x/layer.tar", image.layers[0])
          .file("y/layer.tar", image.layers[1])
          .file(image.hex() + ".json", image.config)
          .file("manifest.json", manifest_json(image, {"x/layer.tar", "y/layer.tar"}, {"a:1"}))
          .done(),
      oci.done(json::array({packed}))};
  const auto& archive = archives[GENERATE(0, 1)];
  test::scratch_store s;
  REQUIRE(load(s, archive));
  s.limits.extract.max_entries = 0;  // unpacking anything would fail now
  s.reopen();
  const auto again = load(s, archive);
  INFO((again ? std::string() : again.error().message()));
  REQUIRE(again);
  CHECK(again->front().id == image.id);
  CHECK(left_over(s) == 0);
  // The same size, another content: it is looked at.
  const made_image other({layer("c")});
  const auto refused = load(s, tar_builder()
                                   .file("x/layer.tar", other.layers[0])
                                   .file(other.hex() + ".json", other.config)
                                   .file("manifest.json", manifest_json(other, {"x/layer.tar"}, {}))
                                   .done());
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message(), Catch::Contains("more than 0 entries"));
  s.limits = {};
  s.reopen();
  REQUIRE(load(s, tar_builder()
                      .file("x/layer.tar", other.layers[0])
                      .file(other.hex() + ".json", other.config)
                      .file("manifest.json", manifest_json(other, {"x/layer.tar"}, {}))
                      .done()));
  const auto there = s.store->find(digest_of(other.layers[0]));
  REQUIRE(there);
  CHECK(fs::read_file(there->diff_dir + "/c") == "content of c");
}

TEST_CASE("docker-archives of every maker load") {
  const made_image image({layer("a"), layer("b"), layer("a")});
  std::string tar;
  tar_builder t;
  const auto& l = image.layers;
  SECTION("docker of old: ID/layer.tar, manifest at the end") {
    t.folder("x").file("x/VERSION", "1.0").file("x/json", "{}").file("x/layer.tar", l[0]).file("y/layer.tar", l[1]);
    t.symlink("z/layer.tar", "../x/layer.tar");
    t.file(image.hex() + ".json", image.config)
        .file("manifest.json", manifest_json(image, {"x/layer.tar", "y/layer.tar", "z/layer.tar"}, {"a:1", "b:2"}));
    tar = t.done();
  }
  SECTION("manifest first") {
    t.file("manifest.json", manifest_json(image, {"x/layer.tar", "y/layer.tar", "x/layer.tar"}, {"a:1", "b:2"}));
    t.file(image.hex() + ".json", image.config).file("y/layer.tar", l[1]).file("x/layer.tar", l[0]);
    tar = t.done();
  }
  SECTION("skopeo and podman: HEX.tar, links with the old names") {
    const auto hex = [&](size_t i) { return images::hex_of(digest_of(l[i])) + ".tar"; };
    t.file(hex(0), l[0])
        .symlink("v1/layer.tar", "../" + hex(0))
        .file(hex(1), l[1])
        .file(image.hex() + ".json", image.config);
    t.file("manifest.json", manifest_json(image, {hex(0), hex(1), hex(0)}, {"a:1", "b:2"})).file("repositories", "{}");
    tar = t.done();
  }
  SECTION("the whole in gzip, single layers in gzip and zstd") {
    t.file("./x/layer.tar", test::gzip(l[0]))
        .file("y.tar.zst", test::zstd(l[1]))
        .file(image.hex() + ".json", image.config);
    t.file("manifest.json", manifest_json(image, {"x/layer.tar", "./y.tar.zst", "x/layer.tar"}, {"a:1", "b:2"}));
    tar = test::gzip(t.done());
  }
  test::scratch_store s;
  for (int round = 0; round < 2; ++round) {  // the second time everything is there
    const auto loaded = load(s, tar);
    INFO((loaded ? std::string() : loaded.error().message()));
    REQUIRE(loaded);
    REQUIRE(loaded->size() == 1);
    const auto& one = loaded->front();
    CHECK(one.id == image.id);
    CHECK(one.config == image.config);
    CHECK(one.repo_tags == std::vector<std::string>{"a:1", "b:2"});
    CHECK(one.diff_ids.size() == 3);
    const auto dirs = s.store->lower_dirs(one.diff_ids).value();
    CHECK(fs::read_file(dirs[0] + "/a").value() == "content of a");
    CHECK(fs::read_file(dirs[1] + "/b").value() == "content of b");
    CHECK(fs::read_file(dirs[2] + "/a").value() == "content of a");
    CHECK(s.store->list().size() == 3);
    CHECK(left_over(s) == 0);
  }
}

TEST_CASE("OCI layouts load") {
  const made_image amd({layer("amd")}), arm({layer("arm")}, "arm64");
  test::scratch_store s;
  oci_blobs oci;
  images::load_options options;
  options.wanted = {"linux", "amd64", ""};
  SECTION("one manifest, layers in gzip") {
    json d = oci.add_image(amd, true);
    d["annotations"] = {{"io.containerd.image.name", "docker.io/library/x:1"},
                        {"org.opencontainers.image.ref.name", "1"}};
    const auto loaded = load(s, oci.done(json::array({d})), options);
    REQUIRE(loaded);
    REQUIRE(loaded->size() == 1);
    CHECK(loaded->front().id == amd.id);
    CHECK(loaded->front().repo_tags == std::vector<std::string>{"x:1"});
    CHECK(digest_of(loaded->front().manifest) == loaded->front().manifest_digest);
    CHECK_FALSE(s.store->find(loaded->front().chain_ids[0])->blob_digest.empty());
  }
  SECTION("nested indexes, the platform chosen, attestations left out") {
    json a = oci.add_image(amd, true), b = oci.add_image(arm, false), attestation = oci.add_index(json::array());
    a["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
    b["platform"] = {{"os", "linux"}, {"architecture", "arm64"}, {"variant", "v8"}};
    attestation["platform"] = {{"os", "unknown"}, {"architecture", "unknown"}};
    attestation["annotations"] = {{"vnd.docker.reference.type", "attestation-manifest"}};
    const json inner = oci.add_index(json::array({attestation, b, a}));
    const std::string tar = oci.done(json::array({oci.add_index(json::array({inner}))}));
    CHECK(load(s, tar, options)->front().id == amd.id);
    options.wanted = {"linux", "arm64", ""};
    CHECK(load(s, tar, options)->front().id == arm.id);
    options.wanted = {"linux", "s390x", ""};
    const auto none = load(s, tar, options);
    REQUIRE_FALSE(none);
    CHECK(none.error().message() == "no suitable image found for platform linux/s390x");
  }
  SECTION("an index that is a manifest, too") {
    const std::string both =
        json{{"manifests", json::array()}, {"config", json::object()}, {"layers", json::array()}}.dump();
    const json d{{"mediaType", "application/vnd.oci.image.index.v1+json"}, {"digest", oci.add(both)}};
    CHECK_FALSE(load(s, oci.done(json::array({d})), options));
  }
  SECTION("a layer with another content than its name says") {
    json d = oci.add_image(amd, false);
    std::string tar = oci.done(json::array({d}));
    tar.replace(tar.find("content of amd"), 14, "changed of amd");
    CHECK_FALSE(load(s, tar, options));
  }
  SECTION("a config with another content than its name says") {
    std::string tar = oci.done(json::array({oci.add_image(amd, false)}));
    tar.replace(tar.find("2024-01-02"), 10, "2025-01-02");
    CHECK_FALSE(load(s, tar, options));
    CHECK(s.store->list().empty());
  }
  SECTION("a manifest is missing") {
    const json d{{"mediaType", "application/vnd.oci.image.manifest.v1+json"}, {"digest", digest_of("nothing")}};
    CHECK_FALSE(load(s, oci.done(json::array({d})), options));
  }
  CHECK(left_over(s) == 0);
}

TEST_CASE("broken and hostile archives are refused in Docker's words") {
  test::scratch_store s;
  const made_image image({layer("a"), layer("b")});
  tar_builder t;
  std::string tar, expected;
  const auto with_manifest = [&](const std::string& text) { return t.file("manifest.json", text).done(); };
  t.file("a.tar", image.layers[0]).file("b.tar", image.layers[1]).file(image.hex() + ".json", image.config);
  SECTION("no tar") {
    while (tar.size() < 2000) tar += "garbage ";
    expected = "archive/tar: invalid tar header";
  }
  SECTION("nothing") {
    expected = "/repositories: no such file or directory";
  }
  SECTION("no manifest") {
    tar = tar_builder().file("x", "y").done();
    expected = "/repositories: no such file or directory";
  }
  SECTION("config is missing") {
    tar = with_manifest(R"([{"Config":"nope.json","RepoTags":["x:y"],"Layers":["l.tar"]}])");
    expected = "/nope.json: no such file or directory";
  }
  SECTION("not JSON") {
    tar = with_manifest("{");
    expected = "unexpected EOF";
  }
  SECTION("not JSON at all") {
    tar = with_manifest("x");
    expected = "invalid character 'x' looking for beginning of value";
  }
  SECTION("a path that leads out") {
    tar = with_manifest(R"([{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}])");
    expected = "evalSymlinksInScope: " + s.root + "/etc/passwd is not in " + s.root + "/tmp/docker-import-";
  }
  SECTION("a layer is missing") {
    tar = with_manifest(manifest_json(image, {"a.tar", "c.tar"}, nullptr));
    expected = "/c.tar: no such file or directory";
  }
  SECTION("fewer layers than diff ids") {
    tar = with_manifest(manifest_json(image, {"a.tar"}, nullptr));
    expected = "invalid manifest, layers length mismatch: expected 1, got 2";
  }
  SECTION("layers in the wrong order") {
    tar = with_manifest(manifest_json(image, {"b.tar", "a.tar"}, nullptr));
    expected = "invalid diffID for layer 0: expected \"" + digest_of(image.layers[0]) + "\", got \"" +
               digest_of(image.layers[1]) + "\"";
  }
  SECTION("the second layer is another: the first goes again") {
    tar = with_manifest(manifest_json(image, {"a.tar", "a.tar"}, nullptr));
    expected = "invalid diffID for layer 1";
  }
  SECTION("a link instead of a layer, to the host") {
    t.symlink("l.tar", "/etc/passwd");
    tar = with_manifest(manifest_json(image, {"a.tar", "l.tar"}, nullptr));
    expected = "invalid layer \"l.tar\": a link that leads out of the archive";
  }
  SECTION("a link instead of a layer, out of the archive") {
    t.symlink("l.tar", "../../../b.tar").symlink("m.tar", "m.tar").hard_link("h.tar", "/etc/shadow");
    tar = with_manifest(manifest_json(image, {"a.tar", "h.tar"}, nullptr));
    expected = "invalid layer \"h.tar\": a link that leads out of the archive";
  }
  SECTION("a link to itself") {
    t.symlink("m.tar", "m.tar");
    tar = with_manifest(manifest_json(image, {"a.tar", "m.tar"}, nullptr));
    expected = "invalid layer \"m.tar\": a link that leads out of the archive";
  }
  SECTION("a link instead of the config") {
    t.symlink("c.json", "/etc/passwd");
    tar = t.file("manifest.json", R"([{"Config":"c.json","RepoTags":null,"Layers":[]}])").done();
    expected = "/c.json: no such file or directory";
  }
  SECTION("a document instead of a layer") {
    t.file("d.tar", "{}");
    tar = with_manifest(manifest_json(image, {"a.tar", "d.tar"}, nullptr));
    expected = "archive/tar: invalid tar header";
  }
  SECTION("a hostile layer") {
    t.file("evil.tar", tar_builder().file("../../../etc/passwd", "x").done());
    tar = with_manifest(manifest_json(image, {"a.tar", "evil.tar"}, nullptr));
    expected = "invalid entry name \"../../../etc/passwd\"";
  }
  SECTION("a config without a root file system") {
    t.file("c.json", "{}");
    tar = t.file("manifest.json", R"([{"Config":"c.json","RepoTags":null,"Layers":[]}])").done();
    expected = "invalid image JSON, no RootFS key";
  }
  SECTION("for Windows") {
    const made_image other({}, "amd64", "windows");
    t.file(other.hex() + ".json", other.config);
    tar = with_manifest(manifest_json(other, {}, nullptr));
    expected = "cannot load windows image on linux";
  }
  SECTION("cut") {
    tar = with_manifest("[]");
    tar.resize(1500);
    expected = "unexpected EOF";
  }
  SECTION("the same member twice") {
    t.file("a.tar", image.layers[0]);
    tar = with_manifest("[]");
    expected = "image archive has \"a.tar\" twice";
  }
  SECTION("JSON that nests deeply") {
    tar = with_manifest(std::string(5'000'000, '['));
    expected = "exceeded max depth";
  }
  const auto loaded = load(s, tar);
  REQUIRE_FALSE(loaded);
  INFO(loaded.error().message());
  CHECK(loaded.error().message().find(expected) != std::string::npos);
  CHECK(s.store->list().empty());
  CHECK(left_over(s) == 0);
}

TEST_CASE("what is saved is what Docker saves, and loads again") {
  test::scratch_store s;
  const made_image one({layer("a"), layer("b"), layer("a")}), two({layer("a")}, "arm64");
  for (const auto* image : {&one, &two}) {
    tar_builder t;
    std::vector<std::string> names;
    for (size_t i = 0; i < image->layers.size(); ++i) {
      names.push_back(std::to_string(i) + ".tar");
      t.file(names.back(), image->layers[i]);
    }
    REQUIRE(load(s, t.file(image->hex() + ".json", image->config)
                        .file("manifest.json", manifest_json(*image, names, nullptr))
                        .done()));
  }
  const std::string tar = save(s, {{one.config, {"gt/one:1", "one:latest"}}, {two.config, {}}});
  auto files = members(tar);
  CHECK(files.at("oci-layout") == R"({"imageLayoutVersion": "1.0.0"})");
  CHECK(files.at("blobs/sha256/" + one.hex()) == one.config);
  CHECK(files.at("blobs/sha256/" + images::hex_of(digest_of(one.layers[1]))) == one.layers[1]);
  for (const auto& [name, data] : files)
    if (name.size() == 77) CHECK("blobs/sha256/" + images::hex_of(digest_of(data)) == name);
  const auto manifest = json::parse(files.at("manifest.json"));
  CHECK(manifest[0]["RepoTags"] == json::array({"gt/one:1", "one:latest"}));
  CHECK(manifest[0]["Layers"].size() == 3);
  CHECK(manifest[1]["RepoTags"].is_null());
  CHECK(manifest[0]["LayerSources"][digest_of(one.layers[0])]["size"] == one.layers[0].size());
  const auto index = json::parse(files.at("index.json"));
  CHECK(index["manifests"].size() == 3);
  CHECK(index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/gt/one:1");
  CHECK(index["manifests"][1]["annotations"]["io.containerd.image.name"] == "docker.io/library/one:latest");
  CHECK_FALSE(index["manifests"][2].contains("annotations"));
  CHECK(files.at("repositories") == "{\"gt/one\":{\"1\":\"" + images::hex_of(digest_of(layer("a"))) +
                                        "\"},\"one\":{\"latest\":\"" + images::hex_of(digest_of(layer("a"))) +
                                        "\"}}\n");
  CHECK(save(s, {{one.config, {"gt/one:1", "one:latest"}}, {two.config, {}}}) == tar);

  test::scratch_store other;
  auto loaded = load(other, tar);
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 2);
  CHECK((*loaded)[0].id == one.id);
  CHECK((*loaded)[1].id == two.id);
  // Its other half, the OCI layout, alone.
  tar_builder oci;
  for (const auto& [name, data] : files)
    if (name != "manifest.json") oci.file(name, data);
  test::scratch_store third;
  loaded = load(third, oci.done());
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 2);
  CHECK((*loaded)[0].repo_tags == std::vector<std::string>{"gt/one:1", "one:latest"});

  auto nothing = members(save(s, {}));
  CHECK(nothing.size() == 3);
  CHECK(nothing.at("index.json") ==
        R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null})");
  CHECK(nothing.at("manifest.json") == "null\n");
}

TEST_CASE("a root file system becomes an image") {
  test::scratch_store s;
  const std::string root = tar_builder().folder("etc").file("etc/hostname", "x").done();
  images::import_options options;
  options.target = {"linux", "arm64", "v8"};
  options.config = R"({"Cmd":["sh"]})";
  options.created = 1'700'000'000'000'000'000;
  options.docker_version = "28.5.2";
  const std::string packed = test::zstd(root);
  const auto image = images::import(*s.store, archive::source_of(std::string_view(packed)), options);
  REQUIRE(image);
  CHECK(image->diff_ids == std::vector<std::string>{digest_of(root)});
  const auto config = json::parse(image->config);
  CHECK(config["comment"] == "Imported from -");
  CHECK(config["history"][0]["comment"] == "Imported from -");
  CHECK(config["config"]["Cmd"][0] == "sh");
  CHECK(config["variant"] == "v8");
  CHECK(config["rootfs"]["diff_ids"][0] == digest_of(root));
  CHECK(image->id == digest_of(image->config));
  CHECK(images::import(*s.store, archive::source_of(std::string_view("")), {}));
  CHECK_FALSE(images::import(*s.store, archive::source_of(std::string_view("garbage")), {}));
}

TEST_CASE("platforms are parsed in Docker's words") {
  using images::parse_platform;
  CHECK(parse_platform("linux/amd64").value() == images::platform{"linux", "amd64", ""});
  CHECK(parse_platform("linux/arm64/v8").value() == images::platform{"linux", "arm64", ""});
  CHECK(parse_platform("Linux/x86_64").value() == images::platform{"linux", "amd64", ""});
  CHECK(parse_platform("linux/arm").value() == images::platform{"linux", "arm", "v7"});
  CHECK(parse_platform("linux").value() == images::host_platform());
  CHECK(parse_platform("bogus/x/y/z").error().message() ==
        "\"bogus/x/y/z\": cannot parse platform specifier: invalid argument");
  CHECK_FALSE(parse_platform(""));
  CHECK_FALSE(parse_platform("linux/"));
  CHECK(images::matches({"linux", "arm64", ""}, {"linux", "arm64", "v8"}));
  CHECK_FALSE(images::matches({"linux", "arm", "v6"}, {"linux", "arm", "v7"}));
}

TEST_CASE("familiar and full names") {
  CHECK(images::full_reference("busybox:1") == "docker.io/library/busybox:1");
  CHECK(images::full_reference("a/b:1") == "docker.io/a/b:1");
  CHECK(images::full_reference("localhost/b:1") == "localhost/b:1");
  CHECK(images::full_reference("host:5000/b:1") == "host:5000/b:1");
  CHECK(images::familiar_reference("docker.io/library/busybox:1") == "busybox:1");
  CHECK(images::familiar_reference("docker.io/a/b:1") == "a/b:1");
  CHECK(images::familiar_reference("quay.io/a/b:1") == "quay.io/a/b:1");
}
