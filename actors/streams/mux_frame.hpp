// The 8 bytes before each piece of a multiplexed stream: stream, three zeros, length (big endian).
#pragma once
#include <cstddef>
#include <cstdint>

namespace arca {

inline constexpr size_t mux_header_size = 8;

inline void put_mux_header(char* at, int stream, size_t length) {
  at[0] = static_cast<char>(stream);
  at[1] = at[2] = at[3] = 0;
  at[4] = static_cast<char>(length >> 24);
  at[5] = static_cast<char>(length >> 16);
  at[6] = static_cast<char>(length >> 8);
  at[7] = static_cast<char>(length);
}

}  // namespace arca
