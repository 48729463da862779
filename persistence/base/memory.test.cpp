#include "persistence/base/memory.hpp"

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "persistence/base/fs.hpp"

namespace {
// kB of this program's file-backed pages that are mapped now.
long mapped_file_pages() {
  const auto status = arca::fs::read_file("/proc/self/status").value();
  long kb = 0;
  std::sscanf(status.c_str() + status.find("RssFile:"), "RssFile: %ld", &kb);
  return kb;
}
}  // namespace

TEST_CASE("memory is given back and the program runs on") {
  static const std::string constant(1000, 'x');  // data that relocation and initialisation have written stays
  const auto before = mapped_file_pages();
  arca::give_back_memory();
  CHECK(mapped_file_pages() < before);
  CHECK(constant == std::string(1000, 'x'));
  CHECK_NOTHROW(std::stoi("42"));
  CHECK_THROWS_AS(std::stoi("none"), std::invalid_argument);  // unwinding reads tables beside the text
}
