// image_manager with real stores on disk, against a registry that lies. Needs root (layers keep owners), python3,
// openssl.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "actors/image/testing/image_fixture.hpp"
#include "persistence/registry/testing/lying_registry.hpp"

using namespace arca;
using arca::testing::image_engine;
using arca::testing::temporary_folder;
using nlohmann::json;

namespace {
testing::lying_registry& server() {
  static testing::lying_registry s(ARCA_LYING_REGISTRY);
  return s;
}
std::string repo(const std::string& name) {
  return server().host + '/' + name;
}

size_t entries(const std::string& folder) {
  size_t n = 0;
  for (const auto& e : std::filesystem::directory_iterator(folder))
    n += e.is_directory() || e.is_regular_file() ? 1 : 0;
  return n;
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

// Sweeping goes on behind the answer.
void wait_for_entries(const std::string& folder, size_t n) {
  for (int i = 0; i < 1500 && entries(folder) != n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(entries(folder) == n);
}

struct fixture {
  temporary_folder folder;
  std::unique_ptr<image_engine> engine = std::make_unique<image_engine>(folder.path);
  void restart() {
    engine.reset();
    engine = std::make_unique<image_engine>(folder.path);
  }
  result<resolved_image> lease(const std::string& name, const std::string& owner) {
    resolve_image q;
    q.reference = name;
    q.lease_owner = owner;
    return engine->ask(q);
  }
  void release(const std::string& owner) {
    release_image q;
    q.lease_owner = owner;
    CHECK(engine->ask(q));
  }
};
}  // namespace

TEST_CASE_METHOD(fixture, "pulled, listed, inspected, removed") {
  const auto lines = engine->pull(repo("good"), "1");
  CHECK(has(lines, "{\"status\":\"Pulling from good\",\"id\":\"1\"}\r\n"));
  CHECK(has(lines, "\"Pulling fs layer\""));
  CHECK(has(lines, "\"Download complete\""));
  CHECK(has(lines, "\"Pull complete\""));
  CHECK(has(lines, "Status: Downloaded newer image for " + repo("good:1")));
  CHECK(has(engine->pull(repo("good"), "1"), "Status: Image is up to date for " + repo("good:1")));
  const auto view = engine->inspect(repo("good:1"));
  CHECK(view["Size"] == 1 << 20);
  CHECK(view["RepoDigests"].size() == 1);
  const auto events = engine->events(2);
  REQUIRE(events.size() == 2);
  CHECK(events[0].action == "pull");
  CHECK(events[0].actor_id == repo("good:1"));
  CHECK(events[0].attributes.at("name") == repo("good"));
  const auto removed = engine->remove(repo("good:1"));
  CHECK(removed.size() == 4);
  CHECK(engine->list() == json::array());
  wait_for_entries(folder.path + "/layers", 0);
  wait_for_entries(folder.path + "/blobs/sha256", 0);
}

TEST_CASE_METHOD(fixture, "nothing of a lie is kept") {
  const std::pair<const char*, const char*> lies[] = {
      {"wrong-digest", "filesystem layer verification failed for digest"},
      {"wrong-length", "wrong length of blob"},
      {"endless", "more bytes than the manifest's"},
      {"wrong-config", "error pulling image configuration: blob verification failed"},
      {"config-lies", "layers from manifest don't match image configuration"},
      {"digest-lies", "manifest verification failed for digest"},
      {"redirect-metadata", "refusing to connect to 169.254.169.254"},
      {"html", "text/html"},
      {"ambiguous", "ambiguous manifest"},
      {"nested", "unsupported manifest format"}};
  for (const auto& [name, message] : lies) CHECK(has(engine->pull(repo(name), "1"), message));
  CHECK(engine->list() == json::array());
  wait_for_entries(folder.path + "/layers", 0);
  wait_for_entries(folder.path + "/blobs/sha256", 0);
}

TEST_CASE_METHOD(fixture, "errors before the first line are answers, later ones lines") {
  CHECK(json::parse(engine->pull(repo("nosuch-tag"), "9"))["message"] ==
        "manifest for " + repo("nosuch-tag:9") + " not found: manifest unknown: manifest unknown");
  CHECK(has(engine->pull(repo("multi"), "1", "linux/s390x"),
            "{\"errorDetail\":{\"message\":\"no matching manifest for linux/s390x in the manifest list entries\"}"));
  CHECK(json::parse(engine->pull("scratch", ""))["message"] == "'scratch' is a reserved name");
  CHECK(json::parse(engine->pull(repo("good"), "bad tag"))["message"] == "invalid tag format");
  CHECK(json::parse(engine->pull("127.0.0.1:1/x/y", "1"))["message"] ==
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused");
}

TEST_CASE_METHOD(fixture, "platforms, all tags, broken connections, passwords") {
  CHECK(has(engine->pull(repo("multi"), "1"), "Downloaded newer image"));
  CHECK(engine->inspect(repo("multi:1"))["Architecture"] == "amd64");
  CHECK(has(engine->pull(repo("multi"), "1", "linux/arm64"), "Downloaded newer image"));
  CHECK(engine->inspect(repo("multi:1"))["Architecture"] == "arm64");
  CHECK(engine->inspect(repo("multi:1"))["RepoDigests"] == json::array());
  CHECK(has(engine->pull(repo("good"), "1", "linux/arm64"),
            "WARNING: image with reference " + repo("good:1") + " was found but"));
  CHECK(has(engine->pull(repo("paged"), ""), "Status: Downloaded newer image for " + repo("paged") + "\""));
  for (const char* tag : {":1", ":2", ":3"}) CHECK(engine->inspect(repo("paged") + tag).contains("Id"));
  CHECK(has(engine->pull(repo("reset-range"), "1"), "Downloaded newer image"));
  const auto auth = R"({"username":"alice","password":"secret"})";
  CHECK(has(engine->pull(repo("token-private"), "1", "", auth), "Downloaded newer image"));
  CHECK(has(engine->pull(repo("basic"), "1", "", R"({"username":"alice","password":"no"})"),
            "unauthorized: authentication required"));
}

TEST_CASE_METHOD(fixture, "equal pulls are one; it ends when the last client goes") {
  pull_image q;
  q.reference = repo("stall");
  q.tag = "1";
  auto one = engine->ask(q), two = engine->ask(q);
  REQUIRE(one);
  REQUIRE(two);
  size_t pulls = 0;
  for (const auto& row : engine->ctx.actors->snapshot()) pulls += row.kind == "image_pull" ? 1 : 0;
  CHECK(pulls == 1);
  auto first = engine->ctx.streams->take(*one), second = engine->ctx.streams->take(*two);
  first->output->abort();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(engine->ctx.actors->snapshot().size() >= 2);
  second->output->abort();
  bool over = false;
  for (int i = 0; i < 1500 && !over; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    over = true;
    for (const auto& row : engine->ctx.actors->snapshot()) over = over && row.kind != "image_pull";
  }
  CHECK(over);
  wait_for_entries(folder.path + "/layers", 0);
}

TEST_CASE_METHOD(fixture, "a stopping engine does not wait for a registry") {
  pull_image q;
  q.reference = repo("stall");
  q.tag = "1";
  REQUIRE(engine->ask(q));
  const auto begin = std::chrono::steady_clock::now();
  engine.reset();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE_METHOD(fixture, "images outlive the engine; what is broken is set aside") {
  REQUIRE(has(engine->pull(repo("good"), "1"), "Downloaded"));
  REQUIRE(has(engine->pull(repo("multi"), "1", "linux/arm64"), "Downloaded"));
  tag_image t;
  t.source = repo("good:1");
  t.repository = "again";
  REQUIRE(engine->ask(t));
  const auto before = engine->list();
  restart();
  CHECK(engine->list() == before);
  CHECK(engine->inspect("again")["Metadata"]["LastTagTime"] != "0001-01-01T00:00:00Z");
  const auto diff = engine->inspect("again")["RootFS"]["Layers"][0].get<std::string>();
  engine.reset();
  // A crash's leftovers, and a layer that is lost.
  std::filesystem::create_directories(folder.path + "/layers/tmp-left/diff");
  std::filesystem::remove_all(folder.path + "/layers/" + diff.substr(7));
  engine = std::make_unique<image_engine>(folder.path);
  CHECK(engine->list().size() == 1);
  CHECK(engine->inspect("again")["message"] == "No such image: again:latest");
  CHECK_FALSE(std::filesystem::exists(folder.path + "/layers/tmp-left"));
  CHECK(has(engine->pull(repo("good"), "1"), "Downloaded"));
  CHECK(engine->list().size() == 2);
}

TEST_CASE_METHOD(fixture, "leases keep layers, and go with containers that never came to be") {
  REQUIRE(has(engine->pull(repo("good"), "1"), "Downloaded"));
  const std::string owner(64, 'c');
  auto image = lease(repo("good:1"), owner);
  REQUIRE(image);
  REQUIRE(image->layers.size() == 1);
  CHECK(std::filesystem::exists(image->layers[0] + "/noise"));
  CHECK(json::parse(image->config)["Cmd"] == json::array({"x"}));
  CHECK(lease("nosuch", owner).error().message() == "No such image: nosuch:latest");
  CHECK(engine->list()[0]["Containers"] == 1);
  const auto text = engine->remove(repo("good:1"))["message"].get<std::string>();
  CHECK(has(text, "container cccccccccccc is using its referenced image"));
  CHECK(engine->remove(image->id, true).size() == 3);
  CHECK(engine->list() == json::array());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(std::filesystem::exists(image->layers[0] + "/noise"));
  release(owner);
  wait_for_entries(folder.path + "/layers", 0);

  REQUIRE(has(engine->pull(repo("good"), "1"), "Downloaded"));
  REQUIRE(lease(repo("good:1"), owner));
  restart();  // no row of such a container
  CHECK(engine->list()[0]["Containers"] == 0);
}

TEST_CASE_METHOD(fixture, "saved archives load again") {
  REQUIRE(has(engine->pull(repo("good"), "1"), "Downloaded"));
  tag_image t;
  t.source = repo("good:1");
  t.repository = "gt/tiny";
  t.tag = "1";
  REQUIRE(engine->ask(t));
  save_images s;
  s.references = {"gt/tiny:1"};
  auto id = engine->ask(s);
  REQUIRE(id);
  const auto archive = engine->drain(*id);
  CHECK(archive.size() > (1u << 20));
  s.references = {"nosuch"};
  CHECK(engine->ask(s).error().message() == "No such image: nosuch");
  s.references = {"gt/tiny:1"};
  s.platform = R"({"os":"linux","architecture":"arm64"})";
  CHECK(engine->ask(s).error().message() == "no suitable export target found for platform linux/arm64");
  const auto image = engine->inspect("gt/tiny:1")["Id"];
  engine->remove(repo("good:1"));
  engine->remove("gt/tiny:1");
  const auto load = [&](const std::string& bytes) {
    stream in;
    in.input = std::make_shared<byte_channel>();
    load_images q;
    q.quiet = true;
    q.input = engine->ctx.streams->put(in);
    auto out = engine->ask(q);
    REQUIRE(out);
    std::thread writer([&] {
      for (size_t at = 0; at < bytes.size(); at += 50'000)
        if (!in.input->push_blocking(bytes.substr(at, 50'000))) break;
      in.input->close();
    });
    auto text = engine->drain(*out);
    writer.join();
    return text;
  };
  CHECK(load(archive) == "{\"stream\":\"Loaded image: gt/tiny:1\\n\"}\r\n");
  CHECK(engine->inspect("gt/tiny:1")["Id"] == image);
  CHECK(has(load(std::string(4096, 'g')), "{\"errorDetail\":{\"message\":\"archive/tar: invalid tar header\"}"));
  CHECK(has(load(""), "no such file or directory"));
}

TEST_CASE_METHOD(fixture, "saves whose clients do not read keep what they read, and nothing else") {
  REQUIRE(has(engine->pull(repo("multi"), "1"), "Downloaded"));
  tag_image t;
  t.source = repo("multi:1");
  t.repository = "gt/saved";
  t.tag = "1";
  REQUIRE(engine->ask(t));
  save_images s;
  s.references = {"gt/saved:1"};
  std::vector<stream_id> unread;
  for (int i = 0; i < 9; ++i) {
    auto id = engine->ask(s);
    REQUIRE(id);
    unread.push_back(*id);
  }
  REQUIRE(has(engine->pull(repo("multi"), "1", "linux/arm64"), "Downloaded"));
  wait_for_entries(folder.path + "/layers", 2);
  engine->remove(repo("multi:1"));
  wait_for_entries(folder.path + "/layers", 1);
  engine->remove(engine->inspect("gt/saved:1")["Id"], true);
  CHECK(engine->list() == json::array());
  for (const auto id : unread) CHECK(engine->drain(id).size() > (1u << 20));
  wait_for_entries(folder.path + "/layers", 0);
  wait_for_entries(folder.path + "/blobs/sha256", 0);
}

TEST_CASE_METHOD(fixture, "import, with changes and from a URL that refuses") {
  const auto import = [&](import_image q, const std::string& bytes) {
    stream in;
    in.input = std::make_shared<byte_channel>();
    if (!bytes.empty()) in.input->push(bytes);
    in.input->close();
    if (q.source == "-") q.input = engine->ctx.streams->put(in);
    auto out = engine->ask(q);
    return out ? engine->drain(*out) : out.error().message();
  };
  import_image q;
  q.source = "-";
  q.repository = "gt/imported";
  q.tag = "one";
  q.changes = {"CMD [\"echo\", \"hi\"]", "ENV A=1"};
  CHECK(has(import(q, ""), "{\"status\":\"sha256:"));
  const auto view = engine->inspect("gt/imported:one");
  CHECK(view["Config"]["Cmd"] == json({"echo", "hi"}));
  CHECK(view["Comment"] == "Imported from -");
  CHECK(view["DockerVersion"] != "");
  CHECK(import(q, "garbage" + std::string(2000, 'g')) == "archive/tar: invalid tar header");
  q.changes = {"FROBNICATE x"};
  CHECK(import(q, "") == "FROBNICATE is not a valid change command");
  q.changes.clear();
  q.source = "http://127.0.0.1:1/x.tar";
  CHECK(import(q, "") == "Get \"http://127.0.0.1:1/x.tar\": dial tcp 127.0.0.1:1: connect: connection refused");
  q.source = "ftp://x/y";
  CHECK(import(q, "") == "Get \"ftp://x/y\": unsupported protocol scheme \"ftp\"");
}

TEST_CASE_METHOD(fixture, "many at once") {
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 24; ++i)
    clients.emplace_back([&, i] {
      const auto name = "good" + std::to_string(i % 6);
      if (engine->pull(repo(name), "1").find("Status: ") != std::string::npos) ++good;
      if (i % 3 == 0) engine->remove(repo(name + ":1"));
      engine->list();
    });
  for (auto& c : clients) c.join();
  CHECK(good == 24);
  for (int i = 0; i < 6; ++i) engine->remove(repo("good" + std::to_string(i) + ":1"));
  CHECK(engine->list() == json::array());
  wait_for_entries(folder.path + "/layers", 0);
}
