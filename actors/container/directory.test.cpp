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
  CHECK(d->find("").error().code() == errc::not_found);
  auto renamed = d->with(entry("aa11", "www"));
  CHECK_FALSE(renamed->find("web"));
  CHECK(renamed->find("www"));
  CHECK(d->find("web"));  // the old directory is immutable
  CHECK_FALSE(renamed->without("aa11")->find("www"));
}
