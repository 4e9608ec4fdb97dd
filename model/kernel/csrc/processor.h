// What this processor and its operating system let the int8 products use.
#pragma once

#include <cstdint>

namespace adavae {

// The instructions that multiply bytes: as words of 16 bits (AVX2), four at once (VNNI, on ARM UDOT), by tiles (and fewer
// rows than a tile has, four at once). As `Int8Way` in library.py.
enum class Int8Way : int32_t { kNone = 0, kWords = 1, kDot = 2, kAmx = 3 };

// Whether this library has that way, the processor knows its instructions, and the system allows them to this process.
bool has(Int8Way way);

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) int32_t adavae_has_int8_way(adavae::Int8Way way);
