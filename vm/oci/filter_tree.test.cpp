#include "vm/oci/filter_tree.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "persistence/base/unique_fd.hpp"
#include "vm/oci/capabilities.hpp"
#include "vm/oci/seccomp.hpp"

using namespace arca;
using program = std::vector<sock_filter>;

namespace {

/// What the kernel does (Documentation/networking/filter.rst), as far as seccomp has it.
uint32_t answer_of(const program& code, const seccomp_data& call) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    const auto& at = code[pc];
    const auto go = [&](bool yes) { pc += yes ? at.jt : at.jf; };
    switch (at.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        REQUIRE(at.k + 4 <= sizeof call);
        std::memcpy(&a, reinterpret_cast<const char*>(&call) + at.k, 4);
        break;
      case BPF_RET | BPF_K:
        return at.k;
      case BPF_JMP | BPF_JA:
        pc += at.k;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= at.k;
        break;
      case BPF_MISC | BPF_TAX:
        break;  // X is read by nothing here
      case BPF_JMP | BPF_JEQ | BPF_K:
        go(a == at.k);
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        go(a > at.k);
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        go(a >= at.k);
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        go((a & at.k) != 0);
        break;
      default:
        FAIL("instruction " << at.code);
    }
  }
  FAIL("the program has no end");
  return 0;
}

program exported(scmp_filter_ctx filter, unsigned optimize) {
  seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, optimize);
  const unique_fd file(memfd_create("filter", MFD_CLOEXEC));
  REQUIRE(seccomp_export_bpf(filter, file.get()) == 0);
  program out(static_cast<size_t>(lseek(file.get(), 0, SEEK_END)) / sizeof(sock_filter));
  REQUIRE(pread(file.get(), out.data(), out.size() * sizeof(sock_filter), 0) > 0);
  return out;
}

/// Every number and argument next to one that either program speaks of, for every architecture.
void check_same(const program& before, const program& after) {
  std::set<uint32_t> numbers, words = {0, 1, UINT32_MAX};
  for (uint32_t n = 0; n < 520; ++n) numbers.insert({n, 0x40000000 + n});
  for (const auto* code : {&before, &after})
    for (const auto& at : *code) {
      if (BPF_CLASS(at.code) != BPF_JMP && BPF_CLASS(at.code) != BPF_ALU) continue;
      numbers.insert({at.k - 1, at.k, at.k + 1});
      if (at.k > 2000 || words.size() < 40) words.insert({at.k - 1, at.k, at.k + 1});
    }
  const std::vector<uint32_t> values(words.begin(), words.end());
  std::mt19937 random(1);
  const auto some = [&] { return uint64_t{values[random() % values.size()]}; };
  for (const uint32_t arch :
       std::array<uint32_t, 6>{AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0, 77})
    for (const auto number : numbers)
      for (int i = 0; i < 16; ++i) {
        seccomp_data call{static_cast<int>(number), arch, 0, {}};
        for (auto& arg : call.args) arg = some() | (i % 2 == 0 ? 0 : some() << 32);
        const auto wanted = answer_of(before, call);
        if (answer_of(after, call) != wanted) FAIL("arch " << arch << " call " << number << " wanted " << wanted);
      }
}

struct filter {
  scmp_filter_ctx made;
  explicit filter(uint32_t standard) : made(seccomp_init(standard)) {
    seccomp_arch_add(made, SCMP_ARCH_X86);
    seccomp_arch_add(made, SCMP_ARCH_X32);
    seccomp_arch_add(made, SCMP_ARCH_AARCH64);
  }
  filter(const filter&) = delete;
  filter& operator=(const filter&) = delete;
  ~filter() { seccomp_release(made); }
};

}  // namespace

TEST_CASE("a search tree answers as the program that libseccomp wrote, in fewer steps") {
  std::mt19937 random(7);
  int shorter = 0;
  for (int round = 0; round < 12; ++round) {
    const filter f(round % 2 == 0 ? SCMP_ACT_ERRNO(1) : SCMP_ACT_ALLOW);
    const uint32_t actions[] = {round % 2 == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(1), SCMP_ACT_ERRNO(38), SCMP_ACT_TRAP};
    const scmp_compare comparisons[] = {SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,       SCMP_CMP_EQ,
                                        SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ};
    for (int number = 0; number < 440; ++number) {
      if (random() % 3 == 0) continue;
      const auto action = actions[random() % 20 == 0 ? 1 + random() % 2 : 0];
      if (random() % 12 != 0) {
        seccomp_rule_add_array(f.made, action, number, 0, nullptr);
        continue;
      }
      std::vector<scmp_arg_cmp> compared;
      for (unsigned index = random() % 4; index < 6 && compared.size() < 3; index += 1 + random() % 3)
        compared.push_back({index, comparisons[random() % 7],
                            random() % 2 == 0 ? random() % 50 : random() * uint64_t{random()}, random() % 64});
      seccomp_rule_add_array(f.made, action, number, static_cast<unsigned>(compared.size()), compared.data());
    }
    const auto before = exported(f.made, round % 4 < 2 ? 1 : 2);
    const auto after = oci::search_tree_of(before);
    CHECK(after.size() <= before.size());  // some of these have more borders than numbers in between
    shorter += after.size() < before.size() ? 1 : 0;
    check_same(before, after);
  }
  CHECK(shorter > 8);
}

TEST_CASE("the default profile is a third of what it was") {
  auto caps = oci::default_capabilities();
  for (int more = 0; more < 2; ++more) {
    auto evaluated = oci::seccomp_of(oci::default_seccomp_profile(), {caps.begin(), caps.end()}, oci::this_host());
    REQUIRE(evaluated);
    const filter f(SCMP_ACT_ERRNO(1));
    for (const auto& rule : (*evaluated)["syscalls"])
      if (!rule.contains("args") && rule["action"] == "SCMP_ACT_ALLOW")
        for (const std::string name : rule["names"])
          seccomp_rule_add_array(f.made, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(name.c_str()), 0, nullptr);
    const auto before = exported(f.made, 2);
    const auto after = oci::search_tree_of(before);
    CHECK(after.size() * 3 < before.size());
    check_same(before, after);
    caps.emplace_back("CAP_SYS_ADMIN");
  }
}

TEST_CASE("a program of another kind stays what it is") {
  const program of_bits = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
                           {BPF_JMP | BPF_JSET | BPF_K, 0, 1, 4},
                           {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
                           {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL}};
  const program of_memory = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 16}, {BPF_ST, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}};
  const program without_end = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 16}};
  for (const auto& each : {of_bits, of_memory, without_end}) {
    const auto same = oci::search_tree_of(each);
    REQUIRE(same.size() == each.size());
    CHECK(std::memcmp(same.data(), each.data(), each.size() * sizeof(sock_filter)) == 0);
  }
  CHECK(oci::search_tree_of({}).empty());
}
