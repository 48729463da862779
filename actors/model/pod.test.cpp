#include "actors/model/pod.hpp"

#include <catch2/catch.hpp>
#include <map>

using namespace arca;
using namespace arca::model;
using nlohmann::json;

namespace {

struct world {
  std::map<std::string, std::shared_ptr<const container_record>> known;

  container_record& add(const std::string& name, container_status status, json host_config = json::object()) {
    auto made = std::make_shared<container_record>();
    made->name = name;
    made->id = name + "-id";
    made->runtime = "namespace";
    made->host_config = std::move(host_config);
    made->state.status = status;
    auto& kept = *made;
    known[name] = std::move(made);
    return kept;
  }
  record_lookup lookup() const {
    return [this](const std::string& name) -> result<std::shared_ptr<const container_record>> {
      const auto found = known.find(name);
      if (found == known.end()) return fail(errc::not_found, "No such container: " + name);
      return found->second;
    };
  }
  error problem(const std::string& kind, const std::string& name) const {
    const auto found = find_donor({kind, name}, "self", lookup());
    REQUIRE_FALSE(found);
    return found.error();
  }
  bool joins(const std::string& kind, const std::string& name) const {
    return find_donor({kind, name}, "self", lookup()).has_value();
  }
};

}  // namespace

TEST_CASE("pod: the wishes of HostConfig, in Docker's order") {
  const auto wishes = shared_namespaces(
      {{"PidMode", "container:p"}, {"IpcMode", "container:i"}, {"NetworkMode", "container:n"}, {"UTSMode", ""}});
  REQUIRE(wishes.size() == 3);
  CHECK((wishes[0].kind == "network" && wishes[0].container == "n"));
  CHECK((wishes[1].kind == "ipc" && wishes[1].container == "i"));
  CHECK((wishes[2].kind == "pid" && wishes[2].container == "p"));
  CHECK(shared_namespaces({{"NetworkMode", "bridge"}, {"PidMode", "host"}, {"IpcMode", "shareable"}}).empty());
}

TEST_CASE("pod: a donor must run; the words are Docker's") {
  world w;
  w.add("up", container_status::running);
  w.add("frozen", container_status::paused);
  w.add("ends", container_status::stopping);
  w.add("new", container_status::created);
  w.add("old", container_status::exited);
  w.add("again", container_status::restarting);
  for (const auto* kind : {"network", "pid"})
    for (const auto* name : {"up", "frozen", "ends"}) CHECK(w.joins(kind, name));

  CHECK(w.problem("network", "nosuch").message() ==
        "joining network namespace of container: No such container: nosuch");
  CHECK(w.problem("network", "nosuch").code() == errc::internal);
  CHECK(w.problem("network", "new").message() ==
        "cannot join network namespace of a non running container: container new is created");
  CHECK(w.problem("network", "old").message() ==
        "cannot join network namespace of a non running container: container old is exited");
  CHECK(w.problem("network", "old").code() == errc::conflict);
  CHECK(
      w.problem("network", "again").message() ==
      "cannot join network namespace of container: Container again is restarting, wait until the container is running");
  CHECK(w.problem("pid", "nosuch").message() == "failed to join PID namespace: No such container: nosuch");
  CHECK(w.problem("pid", "old").message() == "failed to join PID namespace: container old is not running");
  CHECK(w.problem("pid", "old").code() == errc::internal);
  CHECK(w.problem("ipc", "again").message() ==
        "failed to join IPC namespace: Container again is restarting, wait until the container is running");

  const auto own = find_donor({"network", "up"}, "up-id", w.lookup());
  REQUIRE_FALSE(own);
  CHECK(own.error().message() == "cannot join own network namespace");
}

TEST_CASE("pod: only a shareable IPC namespace is joined") {
  world w;
  w.add("shareable", container_status::running, {{"IpcMode", "shareable"}});
  w.add("host", container_status::running, {{"IpcMode", "host"}});
  w.add("private", container_status::running, {{"IpcMode", "private"}});
  w.add("none", container_status::running, {{"IpcMode", "none"}});
  w.add("chained", container_status::running, {{"IpcMode", "container:shareable"}});
  w.add("lost", container_status::running, {{"IpcMode", "container:gone"}});
  w.add("circle", container_status::running, {{"IpcMode", "container:circle"}});
  w.add("tmpfs", container_status::running, {{"IpcMode", "shareable"}, {"Tmpfs", {{"/dev/shm", ""}}}});
  mount_point mount;
  mount.destination = "/dev/shm";
  w.add("mounted", container_status::running, {{"IpcMode", "shareable"}}).mounts = {mount};
  for (const auto* name : {"shareable", "host", "chained"}) CHECK(w.joins("ipc", name));
  for (const auto* name : {"private", "none", "lost", "circle", "tmpfs", "mounted"})
    CHECK(w.problem("ipc", name).message() ==
          std::string("failed to join IPC namespace: container ") + name +
              ": non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
}

TEST_CASE("pod: a container follows the machine of its donors") {
  world w;
  w.add("here", container_status::running);
  w.add("there", container_status::running).runtime = "vm";
  const auto kind = [&](std::vector<shared_namespace> wishes, const std::string& own, bool named) {
    return machine_kind_beside(wishes, own, named, w.lookup());
  };
  CHECK(kind({}, "vm", false) == "vm");
  CHECK(kind({{"network", "there"}}, "namespace", false) == "vm");
  CHECK(kind({{"pid", "here"}}, "vm", false) == "namespace");
  CHECK(kind({{"network", "there"}, {"pid", "there"}}, "vm", true) == "vm");
  CHECK(kind({{"network", "nosuch"}}, "vm", false) == "vm");
  CHECK(kind({{"network", "there"}}, "namespace", true).error().message() ==
        "--runtime namespace does not fit: the container is put into the machine of container there, whose runtime is "
        "vm");
  CHECK(kind({{"network", "there"}, {"pid", "here"}}, "vm", false).error().code() == errc::invalid_argument);
}
