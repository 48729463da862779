#include "guest/native/device_rules.hpp"

#include <catch2/catch.hpp>

using namespace arca;
using namespace arca::guest::native;
using nlohmann::json;

namespace {
std::vector<device_rule> rules_of(const char* list) {
  auto rules = device_rules({{"devices", json::parse(list)}});
  REQUIRE(rules);
  return *rules;
}

// As much of the kernel's interpreter as these programs need; -1 when it runs out of the program.
int64_t answer(const std::vector<bpf_insn>& program, uint32_t kind, uint32_t access, uint32_t major, uint32_t minor) {
  const uint32_t context[3] = {access << 16 | kind, major, minor};
  uint64_t registers[11] = {};
  for (size_t at = 0; at < program.size(); ++at) {
    const auto& i = program[at];
    auto& to = registers[i.dst_reg];
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        to = context[i.off / 4];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_X:
        to = registers[i.src_reg];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        to = static_cast<uint64_t>(i.imm);
        break;
      case BPF_ALU64 | BPF_AND | BPF_K:
        to &= static_cast<uint64_t>(i.imm);
        break;
      case BPF_ALU64 | BPF_RSH | BPF_K:
        to >>= i.imm;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (to != static_cast<uint64_t>(i.imm)) at += static_cast<size_t>(i.off);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        if (to == static_cast<uint64_t>(i.imm)) at += static_cast<size_t>(i.off);
        break;
      case BPF_JMP | BPF_EXIT:
        return static_cast<int64_t>(registers[0]);
      default:
        FAIL("unknown instruction " << int{i.code});
    }
  }
  return -1;
}
constexpr uint32_t block = BPF_DEVCG_DEV_BLOCK, character = BPF_DEVCG_DEV_CHAR;
constexpr uint32_t m = BPF_DEVCG_ACC_MKNOD, r = BPF_DEVCG_ACC_READ, w = BPF_DEVCG_ACC_WRITE;
}  // namespace

TEST_CASE("device rules as lines of cgroup v1") {
  const auto rules =
      rules_of(R"([{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}])");
  CHECK(legacy_line(rules[0]) == "a *:* rwm");
  CHECK(legacy_line(rules[1]) == "c 1:3 r");
  CHECK(legacy_line(rules[2]) == "c *:* m");
  CHECK(device_rules(json::object())->empty());
  CHECK_FALSE(device_rules(json::parse(R"({"devices":[{"type":"x"}]})")));
}

TEST_CASE("device rules as a program: the last one that fits decides") {
  const auto program = device_program(rules_of(R"([{"allow":false,"access":"rwm"},
    {"allow":true,"type":"b","major":8,"minor":1,"access":"r"},{"allow":true,"type":"c","major":10,"access":"rw"},
    {"allow":false,"type":"c","major":10,"minor":229,"access":"w"}])"));
  CHECK(answer(program, character, r | w, 1, 3) == 1);  // null
  CHECK(answer(program, character, r, 136, 77) == 1);   // a terminal
  CHECK(answer(program, character, r, 1, 1) == 0);      // mem
  CHECK(answer(program, character, m, 1, 1) == 1);      // its node is harmless
  CHECK(answer(program, block, m, 254, 0) == 1);
  CHECK(answer(program, block, r, 254, 0) == 0);
  CHECK(answer(program, block, r, 8, 1) == 1);
  CHECK(answer(program, block, r | w, 8, 1) == 0);
  CHECK(answer(program, character, r, 8, 1) == 0);
  CHECK(answer(program, character, r | w, 10, 200) == 1);
  CHECK(answer(program, character, r | w, 10, 229) == 0);
  CHECK(answer(program, character, r, 10, 229) == 1);
  CHECK(answer(device_program({}), block, r | w | m, 8, 0) == 1);
  CHECK(answer(device_program(rules_of(R"([{"allow":true,"access":"rwm"}])")), block, r | w, 8, 0) == 1);
}
