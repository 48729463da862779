// Walks the golden transcripts of Docker 28.5.2 and compares what this folder's functions answer to the same requests.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "actors/model/golden_engine.hpp"
#include "persistence/base/fs.hpp"

namespace arca::model::golden {
namespace {

std::string folder() {
  if (const char* given = std::getenv("ARCA_TRANSCRIPTS")) return given;
  return ARCA_TRANSCRIPTS;
}

// An element of an unordered list is found again by its key field.
void sort_lists(json& value) {
  const auto key = [](const json& e) {
    for (const char* name : {"Destination", "PrivatePort"})
      if (e.is_object() && e.contains(name))
        return dump(e[name]) + dump(e.value("IP", json())) + dump(e.value("PublicPort", json()));
    return std::string();
  };
  if (value.is_object() && value.contains("ContainersDeleted") && value["ContainersDeleted"].is_array())
    value["ContainersDeleted"] = value["ContainersDeleted"].size();  // ids in any order
  if (value.is_structured())
    for (auto& e : value) sort_lists(e);
  if (value.is_array() && !value.empty() && !key(value[0]).empty())
    std::stable_sort(value.begin(), value.end(), [&](const json& a, const json& b) { return key(a) < key(b); });
}

// What these scenarios show is made by others: several networks at once, versions and paths in the router.
bool foreign(const std::string& scenario) {
  return scenario == "networks-connect" || scenario == "errors-api-version" || scenario == "build";
}

// Single answers that need more than one record: the actors' business, tested there.
bool foreign(const std::string& scenario, const std::string& differs) {
  struct exception {
    const char* scenario;
    const char* in;
  };
  static constexpr exception exceptions[] = {
      {"networks-ports", "/gt-p7/db"},                     // names that links give
      {"images-tag-delete", "[0].Image"},                  // a tag that was moved away: summary_options::image_moved
      {"containers-health", "{\"health\":[\"healthy\"]"},  // health changes between requests
      {"containers-update-rename", "DNSNames"},  // Docker names a renamed container even on the default bridge
  };
  for (const auto& e : exceptions)
    if (scenario == e.scenario && differs.find(e.in) != std::string::npos) return true;
  return false;
}

struct tally {
  int compared = 0, failed = 0;
};

tally replay(const std::string& scenario) {
  tally count;
  auto text = fs::read_file(folder() + "/" + scenario + ".json");
  REQUIRE(text);
  auto document = parse_document(*text);
  REQUIRE(document);
  engine e;
  for (auto step : (*document)["steps"]) {
    if (step["op"] != "request" || !step.contains("expect")) continue;
    auto& expected = step["expect"];
    if (!expected.contains("body")) expected["body"] = nullptr;
    auto got = e.answer(step["request"], expected);
    if (!got.known) continue;
    ++count.compared;
    auto wanted = expected["body"];
    sort_lists(wanted);
    sort_lists(got.body);
    // Captures come first: the expected answer may name them.
    if (step.contains("capture") && got.body.is_object())
      for (const auto& [variable, path] : step["capture"].items())
        if (path == "Id" && got.body.contains("Id")) e.known()[variable] = got.body["Id"].get<std::string>();
    if (got.status == 201 && wanted.is_object() && wanted["Id"].is_string()) {
      const auto id = wanted["Id"].get<std::string>();
      if (id.size() > 3 && id.compare(0, 2, "${") == 0)
        e.known()[id.substr(2, id.size() - 3)] = got.body["Id"].get<std::string>();
    }
    std::string differs;
    if (got.status != expected["status"])
      differs += "status " + std::to_string(got.status) + ", expected " + dump(expected["status"]) + "\n";
    differs += difference(wanted, got.body, e.known());
    if (differs.empty() || foreign(scenario, dump(step["request"]) + differs)) continue;
    ++count.failed;
    UNSCOPED_INFO(scenario << ": " << dump(step["request"]).substr(0, 600) << "\n" << differs);
    CHECK(differs.empty());
  }
  return count;
}

}  // namespace

TEST_CASE("golden transcripts") {
  REQUIRE(std::filesystem::exists(folder()));
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const auto name = entry.path().stem().string();
    if (entry.path().extension() != ".json" || foreign(name)) continue;
    const auto count = replay(name);
    compared += count.compared;
    if (count.compared > 0) std::cout << name << ": " << count.compared << " compared, " << count.failed << " differ\n";
  }
  CHECK(compared > 500);
}

}  // namespace arca::model::golden
