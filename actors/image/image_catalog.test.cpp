#include "actors/image/image_catalog.hpp"

#include <catch2/catch.hpp>

#include "actors/image/image_views.hpp"
#include "persistence/base/sha256.hpp"

using namespace arca;
using nlohmann::json;

namespace {
std::string diff_id(char c) {
  return "sha256:" + std::string(64, c);
}

// An image with the given layers; `n` makes its id differ.
image_record make_image(int n, const std::vector<char>& layers, json extra = json::object()) {
  json document = {{"architecture", "amd64"},
                   {"os", "linux"},
                   {"created", "2024-01-02T03:04:0" + std::to_string(n) + "Z"},
                   {"config", {{"Cmd", {"sh"}}, {"Labels", {{"n", std::to_string(n)}}}}},
                   {"rootfs", {{"type", "layers"}, {"diff_ids", json::array()}}}};
  for (const char c : layers) document["rootfs"]["diff_ids"].push_back(diff_id(c));
  document.merge_patch(extra);
  const auto text = document.dump();
  auto record = parse_image(digest_of(text), text);
  REQUIRE(record);
  return std::move(*record);
}

registry::reference name(const std::string& text) {
  auto parsed = registry::reference::parse(text);
  REQUIRE(parsed);
  return *parsed;
}

std::optional<images::layer_info> sized(const std::string& chain) {
  images::layer_info info;
  info.chain_id = chain;
  info.size = 10;
  info.diff_dir = "/layers/" + chain.substr(7, 4) + "/diff";
  return info;
}

struct fixture {
  image_catalog catalog;
  std::string add(int n, const std::vector<char>& layers, const std::vector<std::string>& names,
                  json extra = json::object()) {
    auto record = make_image(n, layers, std::move(extra));
    const auto id = record.id;
    catalog.put(std::move(record));
    for (const auto& text : names) catalog.name_image(name(text), id);
    return id;
  }
  std::string remove(const std::string& text, removal_options options = {}) {
    std::vector<removal_line> lines;
    auto done = catalog.remove(text, options, lines);
    if (!done) return done.error().message();
    std::string out;
    for (const auto& l : lines) out += (l.deleted ? "D " : "U ") + l.what + '\n';
    return out;
  }
  json list(const json& filters, bool all = false) {
    list_images q;
    q.all = all;
    if (!filters.is_null()) q.filters = filters.dump();
    auto text = list_view(catalog, sized, q, 1'800'000'000'000'000'000);
    if (!text) return text.error().message();
    json ids = json::array();
    for (const auto& row : json::parse(*text)) ids.push_back(row["RepoTags"]);
    return ids;
  }
};
}  // namespace

TEST_CASE_METHOD(fixture, "an image is found by name, id and unique prefix") {
  const auto a = add(1, {'a'}, {"busybox:gt"});
  const auto b = add(2, {'b'}, {"gt/app:1.0", "gt/app:latest"});
  for (const auto& text : {std::string("busybox:gt"), std::string("docker.io/library/busybox:gt"), a, a.substr(7),
                           a.substr(0, 20), a.substr(7, 12)})
    CHECK(catalog.find(text).value()->id == a);
  CHECK(catalog.find("gt/app").value()->id == b);
  const std::pair<const char*, const char*> missing[] = {
      {"nosuch", "No such image: nosuch:latest"},
      {"gt/app:9", "No such image: gt/app:9"},
      {"registry.example.org/a/b:1", "No such image: registry.example.org/a/b:1"},
      {"UPPER/Case", "invalid reference format: repository name (Case) must be lowercase"},
      {"bad image name", "invalid reference format"}};
  for (const auto& [text, message] : missing) CHECK(catalog.find(text).error().message() == message);
  const auto zero = "sha256:" + std::string(64, '0');
  CHECK(catalog.find(zero).error().message() == "No such image: " + zero);
  CHECK(catalog.find("busybox@" + zero).error().message() == "No such image: busybox@" + zero);
  images::platform arm{"linux", "arm64", ""};
  CHECK(
      catalog.find("busybox:gt", arm).error().message() ==
      "image with reference busybox:gt was found but its platform (linux/amd64) does not match the specified platform "
      "(linux/arm64)");
  CHECK(catalog.find("busybox:gt", images::platform{"linux", "amd64", ""}));
}

TEST_CASE_METHOD(fixture, "a prefix that two images share names none") {
  const auto a = add(1, {'a'}, {});
  std::string b;
  for (int n = 2; n < 200; ++n) {  // some id begins with the same digit
    auto record = make_image(n % 10, {'b'}, {{"author", std::to_string(n)}});
    if (record.id[7] != a[7]) continue;
    b = record.id;
    catalog.put(std::move(record));
    break;
  }
  REQUIRE_FALSE(b.empty());
  CHECK_FALSE(catalog.find(a.substr(7, 1)));
  CHECK(catalog.find(a.substr(7, 30)));
}

TEST_CASE_METHOD(fixture, "tagging moves names and notes the time") {
  const auto a = add(1, {'a'}, {"gt/tiny:1"});
  const auto b = add(2, {'a', 'b'}, {"gt/tiny:2"});
  auto done = catalog.tag("gt/tiny:1", name("gt/copy:v1"), 77);
  REQUIRE(done);
  CHECK(done->events.at(0).action == "tag");
  CHECK(done->events.at(0).attributes == std::map<std::string, std::string>{{"n", "1"}, {"name", "gt/copy:v1"}});
  CHECK(catalog.by_id(a)->last_tagged == 77);
  REQUIRE(catalog.tag("gt/tiny:2", name("gt/copy:v1"), 78));
  CHECK(catalog.find("gt/copy:v1").value()->id == b);
  CHECK(catalog.names_of(a).size() == 1);
  CHECK(image_catalog::target_name("gt/copy", "")->familiar() == "gt/copy:latest");
  CHECK(image_catalog::target_name("UPPER", "").error().message() ==
        "invalid reference format: repository name (library/UPPER) must be lowercase");
  CHECK(image_catalog::target_name("gt/copy", "no good").error().message() == "invalid tag format");
  CHECK(image_catalog::target_name("gt/copy@" + diff_id('1'), "").error().message() ==
        "cannot import digest reference");
}

TEST_CASE_METHOD(fixture, "a pulled tag brings its digest, which stays with its image") {
  const auto a = add(1, {'a'}, {});
  const auto b = add(2, {'b'}, {});
  bool updated = false;
  const auto digest = diff_id('d');
  REQUIRE(catalog.put_pulled(name("h.io/x:1"), digest, a, updated));
  CHECK(updated);
  REQUIRE(catalog.put_pulled(name("h.io/x:1"), digest, a, updated));
  CHECK_FALSE(updated);
  // The same index, another platform: the tag moves, the digest does not.
  REQUIRE(catalog.put_pulled(name("h.io/x:1"), digest, b, updated));
  CHECK(updated);
  CHECK(catalog.names_of(b).size() == 1);
  CHECK(catalog.names_of(a).at(0).familiar() == "h.io/x@" + digest);
  CHECK(catalog.put_pulled(name("h.io/x@" + digest), digest, b, updated).error().message() ==
        "Cannot overwrite digest " + digest);
}

TEST_CASE_METHOD(fixture, "rmi unties names first and deletes with the last") {
  const auto a = add(1, {'a'}, {"gt/tiny:1", "gt/copy:latest", "registry.example.org:5000/gt/copy:x"});
  const auto b = add(2, {'a', 'b'}, {"gt/tiny:2", "gt/copy:v1"});
  CHECK(remove("gt/copy") == "U gt/copy:latest\n");
  CHECK(remove(a) == "conflict: unable to delete " + short_id(a) +
                         " (must be forced) - image is referenced in multiple repositories");
  removal_options force;
  force.force = true;
  // Its layer is still needed by the other image.
  CHECK(remove(a, force) == "U gt/tiny:1\nU registry.example.org:5000/gt/copy:x\nD " + a + '\n');
  CHECK(remove("gt/tiny:1") == "No such image: gt/tiny:1");
  CHECK(remove("gt/tiny:2") == "U gt/tiny:2\n");
  const auto chains = images::chain_ids({diff_id('a'), diff_id('b')});
  CHECK(remove("gt/copy:v1") == "U gt/copy:v1\nD " + b + "\nD " + chains[1] + "\nD " + chains[0] + '\n');
  CHECK(catalog.images().empty());
}

TEST_CASE_METHOD(fixture, "the last tag of a repository takes its digests along") {
  const auto a = add(1, {'a'}, {});
  bool updated = false;
  REQUIRE(catalog.put_pulled(name("h.io/x:2"), diff_id('d'), a, updated));
  CHECK(remove("h.io/x:2") == "U h.io/x:2\nU h.io/x@" + diff_id('d') + "\nD " + a + "\nD " + diff_id('a') + '\n');
}

TEST_CASE_METHOD(fixture, "an image in use is kept in Docker's words") {
  const auto a = add(1, {'a'}, {"busybox:gt"});
  const std::string c1(64, 'c');
  catalog.put_lease(c1, a);
  removal_options force, running;
  force.force = true;
  running.running = {c1};
  auto force_running = running;
  force_running.force = true;
  const std::string by_name =
      "conflict: unable to remove repository reference \"busybox:gt\" (must force) - container "
      "cccccccccccc is using its referenced image " +
      short_id(a);
  CHECK(remove("busybox:gt") == by_name);
  CHECK(remove("busybox:gt", running) == by_name);
  CHECK(remove(a) == "conflict: unable to delete " + short_id(a) +
                         " (must be forced) - image is being used by stopped container cccccccccccc");
  const std::string hard = "conflict: unable to delete " + short_id(a) +
                           " (cannot be forced) - image is being used by running container cccccccccccc";
  CHECK(remove(a, running) == hard);
  CHECK(remove(a, force_running) == hard);
  CHECK(remove("busybox:gt", force_running) == "U busybox:gt\n");
  CHECK(list({{"dangling", {"true"}}}) == json::array({json::array()}));
  SECTION("by force the image goes, its layers stay for the container") {
    CHECK(remove(a, force) == "D " + a + '\n');
    CHECK(catalog.used_layers() == std::set<std::string>{diff_id('a')});
    CHECK(catalog.end_lease(c1).frees_layers);
    CHECK(catalog.used_layers().empty());
  }
  SECTION("when the container is gone it can be deleted") {
    CHECK_FALSE(catalog.end_lease(c1).frees_layers);
    CHECK(remove(a) == "D " + a + "\nD " + diff_id('a') + '\n');
  }
}

TEST_CASE_METHOD(fixture, "parents go with their last child, not before") {
  const auto a = add(1, {'a'}, {});
  auto child = make_image(2, {'a', 'b'});
  child.parent = a;
  const auto b = child.id;
  catalog.put(std::move(child));
  catalog.name_image(name("built:1"), b);
  CHECK(remove(a) ==
        "conflict: unable to delete " + short_id(a) + " (cannot be forced) - image has dependent child images");
  const auto chains = images::chain_ids({diff_id('a'), diff_id('b')});
  CHECK(remove("built:1") == "U built:1\nD " + b + "\nD " + chains[1] + "\nD " + a + "\nD " + chains[0] + '\n');
}

TEST_CASE_METHOD(fixture, "lists are filtered and sorted") {
  add(1, {'a'}, {"gt/tiny:1"});
  add(2, {'a', 'b'}, {"gt/tiny:2"}, {{"config", {{"Labels", {{"layers", "2"}}}}}});
  add(3, {'c'}, {"busybox:gt"});
  add(4, {'d'}, {"gt/app:1.0", "gt/app:latest"});
  const json tiny1 = {"gt/tiny:1"}, tiny2 = {"gt/tiny:2"}, busybox = {"busybox:gt"},
             app = {"gt/app:1.0", "gt/app:latest"};
  CHECK(list(nullptr) == json({app, busybox, tiny2, tiny1}));
  CHECK(list({{"reference", {"gt/app"}}}) == json::array({app}));
  CHECK(list({{"reference", {"gt/app:1.0"}}}) == json::array({json::array({"gt/app:1.0"})}));
  CHECK(list({{"reference", {"gt/*"}}}) == json({app, tiny2, tiny1}));
  CHECK(list({{"reference", {"*/*:lat*"}}}) == json::array({json::array({"gt/app:latest"})}));
  CHECK(list({{"reference", {"busybox", "gt/tiny:2"}}}) == json({busybox, tiny2}));
  CHECK(list({{"label", {"n=1"}}}) == json::array({tiny1}));
  CHECK(list({{"label", {"n", "layers=2"}}}) == json::array({tiny2}));
  CHECK(list({{"label", {{"n=3", true}}}}) == json::array({busybox}));
  CHECK(list({{"before", {"gt/tiny:2"}}}) == json::array({tiny1}));
  CHECK(list({{"since", {"gt/tiny:2"}}}) == json({app, busybox}));
  CHECK(list({{"until", {"2024-01-02T03:04:02"}}}) == json::array({tiny1}));
  CHECK(list({{"dangling", {"true"}}}) == json::array());
  CHECK(list({{"label!", {"n=1"}}}) == "invalid filter 'label!'");
  CHECK(list({{"nosuch", {"1"}}}) == "invalid filter 'nosuch'");
  CHECK(list({{"dangling", {"maybe"}}}) == "invalid filter 'dangling=[maybe]'");
  CHECK(list({{"before", {"nosuch"}}}) == "No such image: nosuch:latest");
  CHECK(list({{"until", {"abc"}}}) == "failed to parse value as time or duration: \"abc\"");
  CHECK(list({{"reference", {"[x"}}}) == "syntax error in pattern");
}

TEST_CASE_METHOD(fixture, "inspect shows every field, history every step") {
  const auto id =
      add(1, {'a', 'b'}, {"x:1"},
          {{"author", "me"},
           {"config", {{"User", "alice"}, {"ExposedPorts", {{"80/tcp", json::object()}}}, {"Hostname", "never"}}},
           {"history",
            {{{"created", "2024-01-02T03:04:05Z"}, {"created_by", "ADD a"}},
             {{"created", "2024-01-02T03:04:05Z"}, {"created_by", "ENV x"}, {"empty_layer", true}},
             {{"created", "2024-01-02T03:04:05Z"}, {"created_by", "ADD b"}, {"comment", "last"}}}}});
  const auto view = json::parse(inspect_view(catalog, sized, *catalog.by_id(id)));
  CHECK(view["Id"] == id);
  CHECK(view["RepoTags"] == json::array({"x:1"}));
  CHECK(view["RepoDigests"] == json::array());
  CHECK(view["Comment"] == "last");
  CHECK(view["Size"] == 20);
  CHECK(view["Metadata"]["LastTagTime"] == "0001-01-01T00:00:00Z");
  CHECK(view["Config"] == json({{"User", "alice"},
                                {"ExposedPorts", {{"80/tcp", json::object()}}},
                                {"Cmd", {"sh"}},
                                {"Entrypoint", nullptr},
                                {"Env", nullptr},
                                {"Labels", {{"n", "1"}}},
                                {"OnBuild", nullptr},
                                {"Volumes", nullptr},
                                {"WorkingDir", ""}}));
  CHECK(view["GraphDriver"]["Data"].contains("LowerDir"));
  const auto history = json::parse(*history_view(catalog, sized, *catalog.by_id(id)));
  REQUIRE(history.size() == 3);
  CHECK(history[0]["Id"] == id);
  CHECK(history[0]["Tags"] == json::array({"x:1"}));
  CHECK(history[1]["Size"] == 0);
  CHECK(history[1]["Id"] == "<missing>");
  CHECK(history[2]["Size"] == 10);
  CHECK(history[2]["Tags"] == nullptr);
}

TEST_CASE("configs that registries must not send are refused") {
  const auto refused = [](const json& patch) {
    json document = {
        {"architecture", "amd64"}, {"os", "linux"}, {"rootfs", {{"type", "layers"}, {"diff_ids", json::array()}}}};
    document.merge_patch(patch);
    return !parse_image("sha256:x", document.dump());
  };
  CHECK_FALSE(refused(json::object()));
  CHECK(refused({{"config", {{"Cmd", "a string"}}}}));
  CHECK(refused({{"config", {{"Env", {1, 2}}}}}));
  CHECK(refused({{"config", {{"Labels", {{"a", 1}}}}}}));
  CHECK(refused({{"config", {{"User", 7}}}}));
  CHECK(refused({{"config", "x"}}));
  CHECK(refused({{"history", {1}}}));
  CHECK(refused({{"os", 1}}));
  CHECK(refused({{"rootfs", {{"type", "tarsum"}}}}));
  CHECK(refused({{"rootfs", {{"diff_ids", {"../../etc"}}}}}));
  CHECK_FALSE(parse_image("sha256:x", "[]"));
  CHECK_FALSE(parse_image("sha256:x", "{"));
}
