#include "vm/qemu/machine_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "persistence/base/fs.hpp"
#include "vm/qemu/log_limits.hpp"

using namespace arca;
using namespace arca::vm;
using namespace std::chrono_literals;

namespace {
struct folder {
  std::string path;
  folder() {
    char name[] = "/tmp/arca-mf-XXXXXX";
    path = mkdtemp(name);
  }
  ~folder() { (void)fs::remove_tree(path); }
};
int64_t size_of(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_size : -1;
}
}  // namespace

TEST_CASE("a machine's record is what it was, and nobody else's to read") {
  folder in;
  machine_record r;
  r.id = "abc";
  r.cgroup = "/arca-vm/abc";
  r.boot_id = "boot";
  r.secret = "0123";
  r.guest = "6.1-1";
  r.accelerator = "tcg";
  r.memory_mib = 256;
  r.cpus = 2;
  r.processes = {{"qemu", 17, 4711, ""}, {"virtiofsd-root", 18, 4712, "abc"}};
  r.members = {"abc", "def"};
  r.stages = {{"queue", 0.5}, {"boot", 1600}};
  r.engine_stages = {{"files", 0.3}, {"create", 12}};
  r.devices = {{"ports", 4}};
  REQUIRE(write_machine_record(in.path, r));
  struct stat info {};
  REQUIRE(stat((in.path + "/machine.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const auto same = read_machine_record(in.path);
  REQUIRE(same);
  CHECK(to_json(*same) == to_json(r));
  CHECK(same->processes.at(1).start_time == 4712);
  CHECK(same->processes.at(1).owner == "abc");
  CHECK(same->members == r.members);
  CHECK(same->stages.at(1).second == 1600);
  CHECK(same->engine_stages.at(1).first == "create");
}

TEST_CASE("what is no record") {
  for (const auto* text :
       {"", "[]", "{}", R"({"secret":"a"})", R"({"secret":"a","cgroup":"/"})", R"({"secret":1,"cgroup":"/arca/a"})"})
    CHECK_FALSE(machine_record_from_json(text));
  CHECK(
      machine_record_from_json(R"({"secret":"a","cgroup":"/arca/a","processes":[1,"x"],"stages":{"a":1},"cpus":"x"})"));
}

TEST_CASE("one engine at a time") {
  folder in;
  auto first = lock_machine(in.path, 0);
  REQUIRE(first);
  CHECK(lock_machine(in.path, 20).error().code() == errc::conflict);
  std::thread later([&] {
    std::this_thread::sleep_for(50ms);
    first->reset();
  });
  CHECK(lock_machine(in.path, 20'000));
  later.join();
}

TEST_CASE("sockets: there before their server") {
  folder in;
  const auto path = in.path + "/s";
  CHECK(connect_to(path, 0).error().code() == errc::not_found);
  const auto listener = listen_at(path);
  REQUIRE(listener);
  std::vector<unique_fd> clients;
  for (int i = 0; i < 20; ++i) {
    auto client = connect_to(path, 20);
    if (!client) {
      CHECK(client.error().code() == errc::timeout);
      break;
    }
    clients.push_back(std::move(*client));
  }
  CHECK(!clients.empty());
  CHECK(clients.size() < 20);
  CHECK(connect_to(std::string(200, 'x'), 0).error().code() == errc::invalid_argument);
}

TEST_CASE("a log that is cut keeps its end") {
  folder in;
  const auto path = in.path + "/console.log";
  auto file = fs::open(path, O_WRONLY | O_CREAT | O_APPEND);
  REQUIRE(file);
  std::string text;
  for (int i = 0; text.size() <= static_cast<size_t>(log_limits::limit); ++i) text += std::to_string(i) + '\n';
  REQUIRE(fs::write_all(file->get(), text.substr(0, log_limits::limit)));
  cut_log(path);
  CHECK(size_of(path) == log_limits::limit);
  REQUIRE(fs::write_all(file->get(), text.substr(log_limits::limit)));
  cut_log(path);
  CHECK(fs::read_file(path).value_or("") == text.substr(text.size() - log_limits::kept));
  REQUIRE(fs::write_all(file->get(), "more"));
  CHECK(size_of(path) == log_limits::kept + 4);
}

TEST_CASE("a log that others write is cut") {
  folder in;
  const auto path = in.path + "/console.log";
  qmp_loop loop;
  log_limits limits(loop);
  auto file = fs::open(path, O_WRONLY | O_CREAT | O_APPEND);
  REQUIRE(file);
  limits.add(path);
  limits.add(in.path + "/missing");
  const std::string block(50'000, 'a');
  const auto until = [&](auto small_now) {
    for (int i = 0; i < 500 && !small_now(); ++i) std::this_thread::sleep_for(10ms);
    return small_now();
  };
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 30; ++i) REQUIRE(fs::write_all(file->get(), block));
    // It may have been cut while it was written, and what is written in the moment of a cut may be lost: the end comes
    // when nothing is left to cut.
    CHECK(until([&] { return size_of(path) < log_limits::limit && size_of(path) >= log_limits::kept; }));
    REQUIRE(fs::write_all(file->get(), "the end"));
    const auto text = fs::read_file(path);
    REQUIRE(text);
    CHECK(text->substr(text->size() - 7) == "the end");
  }
  limits.remove_below(in.path);
}
