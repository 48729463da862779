#include "vm/oci/filter_tree.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

namespace arca::oci {
namespace {

using program = std::vector<sock_filter>;

constexpr uint16_t load = BPF_LD | BPF_W | BPF_ABS, mask = BPF_ALU | BPF_AND | BPF_K, give = BPF_RET | BPF_K,
                   jump = BPF_JMP | BPF_JA, if_equal = BPF_JMP | BPF_JEQ | BPF_K,
                   if_greater = BPF_JMP | BPF_JGT | BPF_K, if_least = BPF_JMP | BPF_JGE | BPF_K,
                   if_set = BPF_JMP | BPF_JSET | BPF_K;
/// Changes nothing that counts, and ends the kernel's search for calls that are always allowed (kernel/seccomp.c,
/// seccomp_is_const_allow), which takes half of the time to load a program: where only programs of a foreign
/// architecture get, their few calls may as well be looked up.
constexpr uint16_t no_lookahead = BPF_MISC | BPF_TAX;
#if defined(__x86_64__)
constexpr uint32_t own_architecture = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t own_architecture = AUDIT_ARCH_AARCH64;
#endif
constexpr uint32_t number_at = offsetof(seccomp_data, nr), architecture_at = offsetof(seccomp_data, arch);

bool is_condition(uint16_t code) {
  return code == if_equal || code == if_greater || code == if_least || code == if_set;
}

size_t target_of(const sock_filter& at, size_t pc, bool yes) {
  return pc + 1 + (at.code == jump ? at.k : yes ? at.jt : at.jf);
}

/// What comes of a system call: an answer, or the place in the program where its arguments begin to count.
struct outcome {
  bool of_arguments = false;
  uint32_t value = 0;
  bool operator==(const outcome&) const = default;
};

/// nullopt: not a program of libseccomp's.
std::optional<outcome> outcome_of(const program& code, uint32_t architecture, uint32_t number) {
  uint32_t loaded = 0;
  for (size_t pc = 0; pc < code.size();) {
    const auto& at = code[pc];
    bool yes = false;
    switch (at.code) {
      case load:
        if (at.k != number_at && at.k != architecture_at) return outcome{true, static_cast<uint32_t>(pc)};
        loaded = at.k == number_at ? number : architecture;
        ++pc;
        continue;
      case give:
        return outcome{false, at.k};
      case if_equal:
        yes = loaded == at.k;
        break;
      case if_greater:
        yes = loaded > at.k;
        break;
      case if_least:
        yes = loaded >= at.k;
        break;
      case jump:
        break;
      default:  // also of numbers: whether a bit is set is no range
        return std::nullopt;
    }
    pc = target_of(at, pc, yes);
  }
  return std::nullopt;
}

/// What the architecture is compared with. nullopt: otherwise than for being equal.
std::optional<std::set<uint32_t>> architectures_in(const program& code) {
  std::set<uint32_t> found;
  std::set<size_t> reached;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    if (code[pc].code == load && code[pc].k == architecture_at) reached.insert(pc + 1);
    if (!reached.contains(pc)) continue;
    const auto& at = code[pc];
    if (at.code == load || at.code == give) continue;
    if (at.code != if_equal && at.code != jump) return std::nullopt;
    if (at.code == if_equal) found.insert(at.k);
    reached.insert(target_of(at, pc, true));
    reached.insert(target_of(at, pc, false));
  }
  return found;
}

/// The first number of each range in which all comparisons come out alike.
std::set<uint32_t> borders_in(const program& code) {
  std::set<uint32_t> borders = {0};
  for (const auto& at : code) {
    if (at.code == if_equal || at.code == if_least) borders.insert(at.k);
    if ((at.code == if_equal || at.code == if_greater) && at.k != UINT32_MAX) borders.insert(at.k + 1);
  }
  return borders;
}

struct range {
  uint32_t first = 0;
  outcome what;
};

std::optional<std::vector<range>> ranges_of(const program& code, uint32_t architecture,
                                            const std::set<uint32_t>& borders) {
  std::vector<range> out;
  for (const auto first : borders) {
    const auto what = outcome_of(code, architecture, first);
    if (!what) return std::nullopt;
    if (out.empty() || out.back().what != *what) out.push_back({first, *what});
  }
  return out;
}

/// What is reached from there on; nullopt: something that libseccomp does not write.
std::optional<std::set<size_t>> reached_from(const program& code, const std::set<size_t>& entries) {
  auto reached = entries;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    if (!reached.contains(pc)) continue;
    const auto& at = code[pc];
    if (at.code == give) continue;
    if (at.code == jump) {
      reached.insert(target_of(at, pc, true));
    } else if (is_condition(at.code)) {
      reached.insert(target_of(at, pc, true));
      reached.insert(target_of(at, pc, false));
    } else if (at.code == load || at.code == mask) {
      reached.insert(pc + 1);
    } else {
      return std::nullopt;
    }
  }
  return reached;
}

/// A program from its end to its beginning: every jump leads to what is there already. Places are counted from the end.
class backwards {
 public:
  size_t put(uint16_t code, uint32_t k) { return append({code, 0, 0, k}); }
  size_t put_jump(size_t target) { return put(jump, static_cast<uint32_t>(code_.size() - target - 1)); }
  size_t put_condition(uint16_t code, uint32_t k, size_t yes, size_t no) {
    yes = near(yes, 2);
    no = near(no, 1);
    return append({code, distance(yes), distance(no), k});
  }
  size_t answer(uint32_t value) {
    const auto known = answers_.find(value);
    if (known != answers_.end() && code_.size() - known->second < reach) return known->second;
    return answers_[value] = put(give, value);
  }
  size_t size() const { return code_.size(); }
  program forwards() const { return {code_.rbegin(), code_.rend()}; }

 private:
  static constexpr size_t reach = 200;  ///< of the 255 of a condition: others may come in between

  size_t append(sock_filter what) {
    code_.push_back(what);
    return code_.size() - 1;
  }
  uint8_t distance(size_t target) const { return static_cast<uint8_t>(code_.size() - target - 1); }
  /// `more`: instructions that may come before the condition that leads there.
  size_t near(size_t target, size_t more) {
    return code_.size() + more - target - 1 <= UINT8_MAX ? target : put_jump(target);
  }

  program code_;
  std::map<uint32_t, size_t> answers_;
};

using places = std::map<size_t, size_t>;  ///< of the old program, in the new one

places copy_of_arguments_part(const program& code, const std::set<size_t>& reached, backwards& to) {
  places copied;
  for (auto pc = reached.rbegin(); pc != reached.rend(); ++pc) {
    const auto& at = code[*pc];
    if (at.code == give) {
      copied[*pc] = to.answer(at.k);
    } else if (is_condition(at.code)) {
      copied[*pc] =
          to.put_condition(at.code, at.k, copied.at(target_of(at, *pc, true)), copied.at(target_of(at, *pc, false)));
    } else if (at.code == jump) {
      copied[*pc] = copied.at(target_of(at, *pc, true));
    } else {
      if (copied.at(*pc + 1) + 1 != to.size()) to.put_jump(copied.at(*pc + 1));
      copied[*pc] = to.put(at.code, at.k);
    }
  }
  return copied;
}

/// Where to divide: about as many system calls on either side, not as many ranges. The kernel goes the way of each call
/// that it knows (some 450) when it loads a program, to see which are always allowed.
size_t middle_of(const std::vector<range>& ranges, size_t begin, size_t end) {
  constexpr uint32_t known_calls = 512;
  constexpr size_t share_of_a_range = 4;  // else those of calls that the kernel does not know would become a list
  const auto weight_before = [&](size_t i) { return std::min(ranges[i].first, known_calls) + share_of_a_range * i; };
  const size_t half = (weight_before(begin) + weight_before(end - 1) + share_of_a_range) / 2;
  size_t middle = begin + 1;
  while (middle + 1 < end && weight_before(middle) < half) ++middle;
  return middle;
}

size_t put_search(const std::vector<range>& ranges, size_t begin, size_t end, const places& arguments, backwards& to) {
  if (end - begin == 1) {
    const auto& what = ranges[begin].what;
    return what.of_arguments ? arguments.at(what.value) : to.answer(what.value);
  }
  const size_t middle = middle_of(ranges, begin, end);
  const auto right = put_search(ranges, middle, end, arguments, to);
  const auto left = put_search(ranges, begin, middle, arguments, to);
  return to.put_condition(if_least, ranges[middle].first, right, left);
}

uint32_t none_of(const std::set<uint32_t>& values) {
  uint32_t value = 0;
  while (values.contains(value)) ++value;
  return value;
}

std::optional<program> rewritten(const program& code) {
  const auto architectures = architectures_in(code);
  if (!architectures) return std::nullopt;
  const auto borders = borders_in(code);
  const auto others = ranges_of(code, none_of(*architectures), borders);
  if (!others || others->size() != 1 || others->front().what.of_arguments) return std::nullopt;
  std::map<uint32_t, std::vector<range>> searches;
  std::set<size_t> entries;
  for (const auto architecture : *architectures) {
    auto ranges = ranges_of(code, architecture, borders);
    if (!ranges) return std::nullopt;
    for (const auto& each : *ranges)
      if (each.what.of_arguments) entries.insert(each.what.value);
    searches[architecture] = std::move(*ranges);
  }
  const auto reached = reached_from(code, entries);
  if (!reached || (!reached->empty() && *reached->rbegin() >= code.size())) return std::nullopt;

  backwards made;
  const auto arguments = copy_of_arguments_part(code, *reached, made);
  auto next = made.answer(others->front().what.value);
  for (const auto& [architecture, ranges] : searches) {
    const auto search = put_search(ranges, 0, ranges.size(), arguments, made);
    if (search + 1 != made.size()) made.put_jump(search);
    auto begin = made.put(load, number_at);
    if (architecture != own_architecture) begin = made.put(no_lookahead, 0);
    next = made.put_condition(if_equal, architecture, begin, next);
  }
  if (next + 1 != made.size()) made.put_jump(next);
  made.put(load, architecture_at);
  return made.forwards();
}

}  // namespace

std::vector<sock_filter> search_tree_of(const std::vector<sock_filter>& code) {
  auto shorter = rewritten(code);
  return shorter && shorter->size() < code.size() ? std::move(*shorter) : code;
}

}  // namespace arca::oci
