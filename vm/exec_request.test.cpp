#include "vm/exec_request.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace arca;
using nlohmann::json;

namespace {
vm::agent_exec exec_of(const json& process) {
  vm::agent_exec what;
  what.container_id = "c";
  what.process_id = "e";
  what.oci_process = process.dump();
  what.stdio.tty = true;
  return what;
}
json usual() {
  return json::parse(R"({"terminal":true,"args":["sh","-c","x"],"env":["A=1","B="],"cwd":"/w","noNewPrivileges":false,
    "user":{"uid":7,"gid":8,"additionalGids":[8,9]},"arcaLackingFolders":3,"consoleSize":{"height":1,"width":2}})");
}
}  // namespace

TEST_CASE("what every process has goes without JSON") {
  const auto request = vm::to_request(exec_of(usual()), 2);
  CHECK(request.oci_process().empty());
  CHECK(request.exit_with_output());
  CHECK(request.stdio().tty());
  const auto& process = request.process();
  CHECK(std::vector<std::string>(process.args().begin(), process.args().end()) ==
        std::vector<std::string>{"sh", "-c", "x"});
  CHECK(std::vector<std::string>(process.env().begin(), process.env().end()) == std::vector<std::string>{"A=1", "B="});
  CHECK(process.cwd() == "/w");
  CHECK(process.uid() == 7);
  CHECK(process.gid() == 8);
  CHECK(std::vector<uint32_t>(process.additional_gids().begin(), process.additional_gids().end()) ==
        std::vector<uint32_t>{8, 9});
  CHECK(process.lacking_folders() == 3);
}

TEST_CASE("the rest of a process stays JSON") {
  auto process = usual();
  process["noNewPrivileges"] = true;
  process["user"]["umask"] = 18;
  process["rlimits"] = json::array({{{"type", "RLIMIT_CORE"}, {"soft", 0}, {"hard", 0}}});
  const auto request = vm::to_request(exec_of(process), 2);
  CHECK(json::parse(request.oci_process()) == json::parse(R"({"noNewPrivileges":true,"user":{"umask":18},
                        "rlimits":[{"type":"RLIMIT_CORE","soft":0,"hard":0}]})"));
  CHECK(request.process().args_size() == 3);
}

TEST_CASE("an agent gets no more than it knows, and nothing is cut to fit") {
  const auto what = exec_of(usual());
  for (const auto& request : {vm::to_request(what), vm::to_request(what, 1)}) {
    CHECK(request.oci_process() == what.oci_process);
    CHECK_FALSE(request.has_process());
    CHECK_FALSE(request.exit_with_output());
  }
  auto odd = usual();
  odd["user"]["uid"] = -1;
  const auto request = vm::to_request(exec_of(odd), 2);
  CHECK_FALSE(request.has_process());
  CHECK(json::parse(request.oci_process()) == odd);
  CHECK(vm::to_request(exec_of("text"), 2).oci_process() == "\"text\"");
  CHECK(vm::to_request(exec_of({{"args", json::array({"a"})}}), 2).process().args_size() == 1);
}
