#include "vm/oci/seccomp.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "vm/oci/capabilities.hpp"

using namespace arca;
using nlohmann::json;

namespace {
json evaluate(std::set<std::string> caps) {
  auto r = oci::seccomp_of(oci::default_seccomp_profile(), caps, oci::this_host());
  REQUIRE(r);
  return *r;
}
bool allows(const json& profile, const std::string& call) {
  for (const auto& rule : profile["syscalls"])
    if (rule["action"] == "SCMP_ACT_ALLOW" && !rule.contains("args"))
      for (const auto& name : rule["names"])
        if (name == call) return true;
  return false;
}
const std::set<std::string> usual(oci::default_capabilities().begin(), oci::default_capabilities().end());
}  // namespace

TEST_CASE("the default profile follows the capabilities") {
  const auto plain = evaluate(usual);
  CHECK(plain["defaultErrnoRet"] == 1);
  CHECK(plain["architectures"][0] ==
        (oci::this_host().architecture == "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"));
  for (const auto* call : {"read", "openat2", "chroot", "ptrace", "futex_wait", "landlock_restrict_self"})
    CHECK(allows(plain, call));
  for (const auto* call : {"mount", "unshare", "setns", "keyctl", "io_uring_setup", "bpf", "clone3", "userfaultfd",
                           "socket", "add_key", "kexec_load", "init_module"})
    CHECK_FALSE(allows(plain, call));
  bool clone3 = false;
  for (const auto& rule : plain["syscalls"])
    if (rule["names"][0] == "clone3") clone3 = rule["action"] == "SCMP_ACT_ERRNO" && rule["errnoRet"] == 38;
  CHECK(clone3);

  auto admin = usual;
  admin.insert("CAP_SYS_ADMIN");
  const auto more = evaluate(admin);
  for (const auto* call : {"mount", "unshare", "clone3", "bpf"}) CHECK(allows(more, call));
  CHECK_FALSE(allows(evaluate({}), "chroot"));
}

TEST_CASE("profiles of users are decoded or refused") {
  const auto say = [](const char* text) {
    auto r = oci::seccomp_of(text, {}, oci::this_host());
    return r ? std::string() : r.error().message();
  };
  CHECK(say("/no/such/file") ==
        "Decoding seccomp profile failed: invalid character '/' looking for beginning of value");
  CHECK(say("[]") ==
        "Decoding seccomp profile failed: json: cannot unmarshal array into Go value of type seccomp.Seccomp");
  CHECK(say(R"({"defaultAction":"NONSENSE"})").ends_with("string NONSENSE is not a valid action for seccomp"));
  CHECK(say(R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_BOGUS"]})")
            .ends_with("string SCMP_ARCH_BOGUS is not a valid arch for seccomp"));
  CHECK(say(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"BOGUS"}]})")
            .ends_with("string BOGUS is not a valid action for seccomp"));
  CHECK(say("{}").empty());
  CHECK(say(R"({"DefaultAction":"SCMP_ACT_ERRNO"})").ends_with("string  is not a valid action for seccomp"));
  CHECK(say(R"({"defaultAction":1})").find("cannot unmarshal number into Go struct field Seccomp.defaultAction") !=
        std::string::npos);
  CHECK(say("{\"defaultAction\":").find("Decoding seccomp profile failed: ") == 0);
  CHECK(
      say(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mkdir","names":["x"],"action":"SCMP_ACT_ERRNO"}]})")
          .find("both 'name' and 'names'") == 0);
  auto r =
      oci::seccomp_of(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mkdir","action":"SCMP_ACT_ERRNO"}]})",
                      {}, oci::this_host());
  REQUIRE(r);
  CHECK((*r)["syscalls"][0]["names"][0] == "mkdir");
  CHECK_FALSE(oci::seccomp_program(*r).empty());
  CHECK(oci::seccomp_program({{"defaultAction", "SCMP_ACT_NOTIFY"}}).empty());
}

TEST_CASE("programs are compiled once") {
  auto first = oci::ready_seccomp_for(oci::default_seccomp_profile(), oci::default_capabilities(), oci::this_host());
  REQUIRE(first);
  CHECK(first->program.size() % 4 == 0);
  CHECK(first->program.size() > 1000);
  auto again = oci::ready_seccomp_for(oci::default_seccomp_profile(), oci::default_capabilities(), oci::this_host());
  REQUIRE(again);
  CHECK(first->program == again->program);
}
