// UTF-8 as Go's encoding/json treats it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace arca::model {

inline constexpr uint32_t utf8_replacement = 0xfffd;

void append_utf8(std::string& out, uint32_t c);
/// Length of the well-formed sequence at `at`, 0 if there is none.
size_t utf8_length(std::string_view s, size_t at);

}  // namespace arca::model
