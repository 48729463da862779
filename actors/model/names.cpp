#include <algorithm>
#include <random>

#include "actors/model/create.hpp"

namespace arca::model {
namespace {

constexpr std::string_view adjectives[] = {
    "able",     "agile",   "amber",   "apt",    "autumn", "bold",   "brave",  "breezy",  "bright", "brisk",   "calm",
    "candid",   "careful", "clear",   "clever", "coral",  "cosmic", "crisp",  "curious", "daring", "deft",    "eager",
    "early",    "earnest", "even",    "exact",  "fair",   "fluent", "fond",   "frank",   "fresh",  "gentle",  "glad",
    "golden",   "handy",   "hardy",   "honest", "humble", "ideal",  "jolly",  "keen",    "kind",   "lively",  "loyal",
    "lucid",    "lucky",   "mellow",  "merry",  "mighty", "modest", "neat",   "nimble",  "noble",  "patient", "plucky",
    "polite",   "prime",   "proud",   "quick",  "quiet",  "rapid",  "ready",  "robust",  "rustic", "serene",  "sharp",
    "silent",   "silver",  "sincere", "smart",  "solid",  "spry",   "steady", "sturdy",  "sunny",  "swift",   "tidy",
    "tranquil", "trusty",  "upbeat",  "vivid",  "warm",   "witty",  "young",  "zesty"};

constexpr std::string_view surnames[] = {
    "abel",       "agnesi",    "ampere",    "anning",     "archimedes", "babbage",      "bardeen",  "bell",
    "bernoulli",  "bohr",      "boole",     "bose",       "brahe",      "cantor",       "carson",   "cauchy",
    "chandra",    "church",    "clarke",    "curie",      "darwin",     "dijkstra",     "dirac",    "edison",
    "einstein",   "engelbart", "erdos",     "euclid",     "euler",      "faraday",      "fermat",   "fermi",
    "feynman",    "fibonacci", "franklin",  "galileo",    "galois",     "gauss",        "germain",  "godel",
    "goodall",    "hamilton",  "hawking",   "heisenberg", "herschel",   "hilbert",      "hodgkin",  "hopper",
    "hypatia",    "jackson",   "johnson",   "kepler",     "knuth",      "kovalevskaya", "lagrange", "lamarr",
    "laplace",    "leavitt",   "leibniz",   "liskov",     "lovelace",   "maxwell",      "meitner",  "mendel",
    "mirzakhani", "moore",     "newton",    "noether",    "nobel",      "pascal",       "pasteur",  "perlman",
    "planck",     "poincare",  "ramanujan", "riemann",    "ritchie",    "rubin",        "sagan",    "shannon",
    "tesla",      "torvalds",  "turing",    "villani",    "volta",      "wiles",        "wing",     "wozniak",
    "yonath",     "zuse"};

bool letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

result<std::string> check_container_name(std::string_view name) {
  const std::string shown(name);
  if (!name.empty() && name.front() == '/') name.remove_prefix(1);
  const bool good = name.size() > 1 && letter_or_digit(name.front()) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
  if (good) return std::string(name);
  return fail(errc::invalid_argument,
              "Invalid container name (" + shown + "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
}

std::string random_container_name(int attempt) {
  thread_local std::mt19937 random{std::random_device{}()};
  const auto pick = [](const auto& words) {
    return std::string(words[std::uniform_int_distribution<size_t>(0, std::size(words) - 1)(random)]);
  };
  auto name = pick(adjectives) + "_" + pick(surnames);
  if (attempt > 0) name += std::to_string(std::uniform_int_distribution<int>(0, attempt > 9 ? 999999 : 9)(random));
  return name;
}

error name_conflict(const std::string& name, const std::string& holder_id) {
  return {errc::conflict, "Conflict. The container name \"/" + name + "\" is already in use by container \"" +
                              holder_id +
                              "\". You have to remove (or rename) that container to be able to reuse that name."};
}

}  // namespace arca::model
