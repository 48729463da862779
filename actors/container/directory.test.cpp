#include "actors/container/directory.hpp"

#include <catch2/catch.hpp>

using namespace arca;

namespace {
container_entry entry(const std::string& id, const std::string& name) {
  auto r = std::make_shared<model::container_record>();
  r->id = id;
  r->name = name;
  container_entry e;
  e.record = std::move(r);
  return e;
}
}  // namespace

TEST_CASE("containers are found by id, name and unique prefix, an exact name before a prefix") {
  std::shared_ptr<const directory> d = std::make_shared<directory>();
  d = d->with(entry("aa11", "web"));
  d = d->with(entry("aa22", "db"));
  d = d->with(entry("bb33", "aa1"));
  CHECK(d->find("aa11")->record->name == "web");
  CHECK(d->find("/web")->record->id == "aa11");
  CHECK(d->find("aa2")->record->id == "aa22");
  CHECK(d->find("aa1")->record->id == "bb33");
  CHECK(d->find("aa").error().message() == "multiple IDs found with provided prefix: aa");
  CHECK(d->find("zz").error().message() == "No such container: zz");
  CHECK(d->find("").error().message() == "invalid name or ID supplied: \"\"");
  CHECK(d->find("").error().code() == errc::invalid_argument);
  auto renamed = d->with(entry("aa11", "www"));
  CHECK_FALSE(renamed->find("web"));
  CHECK(renamed->find("www"));
  CHECK(d->find("web"));  // the old directory is immutable
  CHECK_FALSE(renamed->without("aa11")->find("www"));
}

TEST_CASE("an exec belongs to its container until it exits and can be looked up for a while longer") {
  exec_index execs;
  execs.put("e1", "c", {});
  execs.put("e2", "c", {});
  execs.put("e3", "d", {});
  execs.forget_exited();
  CHECK(execs.of_container("c") == std::vector<std::string>{"e1", "e2"});
  execs.exited("e1");
  execs.exited("e1");
  execs.exited("e3");
  CHECK(execs.of_container("c") == std::vector<std::string>{"e2"});
  CHECK(execs.of_container("d").empty());
  CHECK(execs.find("e1"));
  execs.forget_exited();
  CHECK(execs.find("e1"));
  CHECK(execs.container_of("e3") == "d");
  execs.exited("e2");
  execs.forget_exited();
  CHECK(execs.find("e1").error().message() == "No such exec instance: e1");
  CHECK_FALSE(execs.find("e3"));
  CHECK(execs.find("e2"));
  execs.put("e4", "c", {});
  execs.put("e5", "c", {});
  execs.erase("e4");
  CHECK_FALSE(execs.find("e4"));
  execs.erase_container("c");
  CHECK_FALSE(execs.find("e2"));
  CHECK_FALSE(execs.find("e5"));
}
