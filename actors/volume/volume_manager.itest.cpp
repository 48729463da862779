// The volumes with a real store and real folders.
#define CATCH_CONFIG_MAIN
#include "actors/volume/volume_manager.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <future>
#include <nlohmann/json.hpp>

#include "actors/network/testing/engine_fixture.hpp"

using namespace arca;
using namespace arca::testing;
using nlohmann::json;

namespace {
struct volumes_engine : small_engine {
  explicit volumes_engine(const std::string& dir) : small_engine(dir) {
    ctx.volumes = spawn_volume_manager(system(), ctx);
  }
  static json parsed(const result<json_document>& d) {
    return d ? json::parse(d->text, nullptr, false) : json(d.error().message());
  }
  json create(const std::string& name, const std::map<std::string, std::string>& labels = {},
              const std::map<std::string, std::string>& options = {}, const std::string& driver = "local") {
    create_volume c;
    c.name = name;
    c.driver = driver;
    c.labels = labels;
    c.options = options;
    return parsed(ask<json_document>(ctx.volumes, c));
  }
  json inspect(const std::string& name) {
    inspect_volume i;
    i.name = name;
    return parsed(ask<json_document>(ctx.volumes, i));
  }
  json list(const std::string& filters = "", bool usage = false) {
    list_volumes l;
    l.filters = filters;
    l.usage = usage;
    return parsed(ask<json_document>(ctx.volumes, l));
  }
  json prune(const std::string& filters = "") {
    prune_volumes p;
    p.filters = filters;
    return parsed(ask<json_document>(ctx.volumes, p));
  }
  result<void> remove(const std::string& name, bool force = false) {
    remove_volume r;
    r.name = name;
    r.force = force;
    return ask<void>(ctx.volumes, r);
  }
  result<acquired_volume> acquire(const std::string& container, const std::string& name = "", bool anonymous = false) {
    acquire_volume a;
    a.container_id = container;
    a.name = name;
    a.anonymous = anonymous;
    return ask<acquired_volume>(ctx.volumes, a);
  }
  result<void> release(const std::string& container, bool remove_anonymous) {
    release_volumes r;
    r.container_id = container;
    r.remove_anonymous = remove_anonymous;
    return ask<void>(ctx.volumes, r);
  }
};

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}
void write(const std::string& path, const std::string& text) {
  REQUIRE(fs::write_file_atomic(path, text));
}
}  // namespace

TEST_CASE("create, inspect, list, remove (transcript volumes)") {
  temporary_folder dir;
  volumes_engine engine(dir.path);
  CHECK(engine.list() == json::parse(R"({"Volumes":[],"Warnings":null})"));
  const auto v1 = engine.create("gt-v1", {{"a", "1"}});
  CHECK(v1["Mountpoint"] == dir.path + "/volumes/gt-v1/_data");
  CHECK(v1["Labels"] == json::parse(R"({"a":"1"})"));
  CHECK(v1["Options"].is_null());
  CHECK(exists(v1["Mountpoint"]));
  CHECK(engine.create("gt-v1", {{"other", "2"}}) == v1);  // what is there is answered
  CHECK(engine.create("gt-v1", {}, {{"type", "tmpfs"}, {"device", "tmpfs"}}) == v1);
  CHECK(engine.inspect("gt-v1") == v1);
  const auto unnamed = engine.create("");
  const auto name = unnamed["Name"].get<std::string>();
  CHECK(name.size() == 64);
  CHECK(unnamed["Labels"] == json::parse(R"({"com.docker.volume.anonymous":""})"));
  CHECK(engine.create("a/b").get<std::string>().find("create a/b: \"a/b\" includes invalid characters") == 0);
  CHECK(engine.create("x") ==
        "create x: volume name is too short, names should be at least two alphanumeric characters");
  CHECK(engine.create("gt-bad", {}, {{"foo", "bar"}}) == "create gt-bad: invalid option: \"foo\"");
  CHECK(engine.create("gt-bad", {}, {{"type", "nfs"}}) == "create gt-bad: missing required option: \"device\"");
  CHECK(engine.create("gt-bad", {}, {}, "nosuch") ==
        "create gt-bad: error looking up volume plugin nosuch: plugin \"nosuch\" not found");
  CHECK_FALSE(exists(dir.path + "/volumes/gt-bad"));
  CHECK(engine.list(R"({"name":["gt-"]})")["Volumes"].size() == 1);
  CHECK(engine.list("x") == "error reading volume filters: invalid filter");
  CHECK(engine.remove("gt-v1"));
  CHECK(engine.inspect("gt-v1") == "get gt-v1: no such volume");
  CHECK(engine.remove("gt-v1").error().message() == "get gt-v1: no such volume");
  CHECK(engine.remove("gt-v1", true));
  CHECK_FALSE(exists(dir.path + "/volumes/gt-v1"));
  CHECK(engine.events->take(3) == std::vector<std::string>{"create gt-v1", "create " + name, "destroy gt-v1"});
}

TEST_CASE("users: conflict, release, anonymous ones go with their container") {
  temporary_folder dir;
  volumes_engine engine(dir.path);
  const auto named = engine.acquire("c1", "data");
  REQUIRE(named);
  CHECK(named->created);
  CHECK(named->mountpoint == dir.path + "/volumes/data/_data");
  CHECK_FALSE(engine.acquire("c2", "data")->created);
  CHECK_FALSE(engine.acquire("c2", "data")->created);
  const auto refused = engine.remove("data", true);
  CHECK(refused.error().code() == errc::conflict);
  CHECK(refused.error().message() == "remove data: volume is in use - [c1, c2]");
  CHECK(engine.list(R"({"dangling":["true"]})")["Volumes"].empty());
  const auto unnamed = engine.acquire("c1");
  REQUIRE(unnamed);
  const auto shared = engine.acquire("c1");
  CHECK(engine.acquire("c3", shared->name, true));    // --volumes-from c1
  CHECK(engine.acquire("c4", unnamed->name, false));  // -v NAME:/x: c4 removes it with nobody's consent
  CHECK(engine.acquire("c1", "../etc").error().code() == errc::invalid_argument);
  CHECK(engine.release("c1", true));
  CHECK(engine.inspect(unnamed->name).is_object());
  CHECK(engine.inspect(shared->name).is_object());
  CHECK(engine.release("c4", true));
  CHECK(engine.inspect(unnamed->name).is_object());
  CHECK(engine.release("c3", true));
  CHECK(engine.inspect(shared->name) == "get " + shared->name + ": no such volume");
  CHECK(engine.release("c2", true));
  CHECK(engine.release("c2", true));
  CHECK(engine.remove("data"));
}

TEST_CASE("sizes and prune") {
  temporary_folder dir;
  volumes_engine engine(dir.path);
  const auto keep = engine.create("keep", {{"keep", "1"}})["Mountpoint"].get<std::string>();
  write(keep + "/file", "123456789\n");
  REQUIRE(::link((keep + "/file").c_str(), (keep + "/again").c_str()) == 0);
  REQUIRE(::symlink("/etc", (keep + "/l").c_str()) == 0);
  REQUIRE(engine.acquire("c1", "used"));
  const auto unnamed = engine.create("", {{"z", "1"}})["Name"].get<std::string>();
  const auto df = engine.list("", true)["Volumes"];
  CHECK(df.size() == 3);
  for (const auto& v : df) {
    if (v["Name"] == "keep") CHECK(v["UsageData"] == json::parse(R"({"RefCount":0,"Size":14})"));
    if (v["Name"] == "used") CHECK(v["UsageData"] == json::parse(R"({"RefCount":1,"Size":0})"));
  }
  engine.events->take(3);
  CHECK(engine.prune() == json{{"VolumesDeleted", {unnamed}}, {"SpaceReclaimed", 0}});
  CHECK(engine.events->take(2) == std::vector<std::string>{"destroy " + unnamed, "prune "});
  CHECK(engine.prune(R"({"all":["x"]})") == "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax");
  CHECK(engine.prune(R"({"all":["true"],"label":["keep"]})") ==
        json{{"VolumesDeleted", {"keep"}}, {"SpaceReclaimed", 14}});
  CHECK(engine.prune(R"({"all":["1"]})") == json::parse(R"({"VolumesDeleted":[],"SpaceReclaimed":0})"));
  CHECK(engine.inspect("used").is_object());
}

TEST_CASE("restarts: rows stay, broken states are mended, data are never thrown away") {
  temporary_folder dir;
  const auto root = dir.path + "/volumes";
  std::string unnamed;
  {
    volumes_engine engine(dir.path);
    engine.create("stays", {{"a", "b"}});
    engine.create("half");
    engine.create("lost");
    REQUIRE(engine.acquire("gone", "stays"));
    unnamed = engine.acquire("gone")->name;
    REQUIRE(engine.acquire("there", "stays"));
  }
  // The daemon was killed while it removed "half" and while it created "fresh"; somebody restored "restored".
  REQUIRE(::rename((root + "/half").c_str(), (root + "/.removing-half-0123abcd").c_str()) == 0);
  REQUIRE(fs::make_dirs(root + "/fresh/_data"));
  REQUIRE(fs::make_dirs(root + "/restored/_data"));
  write(root + "/restored/_data/f", "x");
  REQUIRE(fs::remove_tree(root + "/lost"));
  volumes_engine engine(dir.path);
  std::vector<std::string> names;
  const auto listed = engine.list();
  for (const auto& v : listed["Volumes"]) names.push_back(v["Name"]);
  std::sort(names.begin(), names.end());
  std::vector<std::string> want{"lost", "restored", "stays", unnamed};
  std::sort(want.begin(), want.end());
  CHECK(names == want);
  CHECK(engine.inspect("stays")["Labels"]["a"] == "b");
  CHECK(engine.remove("stays").error().message() == "remove stays: volume is in use - [gone, there]");
  reconcile_volumes r;
  r.containers = {"there"};
  CHECK(engine.ask<void>(engine.ctx.volumes, r));
  CHECK(engine.inspect(unnamed) == "get " + unnamed + ": no such volume");
  CHECK(engine.remove("stays").error().message() == "remove stays: volume is in use - [there]");
  for (int i = 0; i < 3000 && (exists(root + "/fresh") || exists(root + "/.removing-half-0123abcd") ||
                               !exists(root + "/lost/_data"));
       ++i)
    ::usleep(10'000);
  CHECK_FALSE(exists(root + "/fresh"));
  CHECK_FALSE(exists(root + "/.removing-half-0123abcd"));
  CHECK(exists(root + "/lost/_data"));
  CHECK(exists(root + "/restored/_data/f"));
}

TEST_CASE("many at once on one volume") {
  temporary_folder dir;
  volumes_engine engine(dir.path);
  std::vector<std::future<result<acquired_volume>>> asked;
  for (int i = 0; i < 50; ++i) {
    acquire_volume a;
    a.container_id = "c" + std::to_string(i);
    a.name = "shared";
    asked.push_back(
        std::async(std::launch::async, [&engine, a] { return engine.ask<acquired_volume>(engine.ctx.volumes, a); }));
  }
  size_t made = 0;
  for (auto& one : asked) {
    const auto v = one.get();
    REQUIRE(v);
    made += v->created ? 1 : 0;
  }
  CHECK(made == 1);
  CHECK(engine.list("", true)["Volumes"][0]["UsageData"]["RefCount"] == 50);
}
