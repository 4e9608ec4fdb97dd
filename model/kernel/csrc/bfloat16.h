// bfloat16 as its bits: the upper half of a float32.
#pragma once

#include <bit>
#include <cstdint>

namespace adavae {

inline float widened(uint16_t number) {
    return std::bit_cast<float>(static_cast<uint32_t>(number) << 16);
}

// To the nearest, to the even one of two; NaN stays NaN.
inline uint16_t rounded(float number) {
    const uint32_t bits = std::bit_cast<uint32_t>(number);
    const uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<uint16_t>(number == number ? nearest : 0x7fc0);
}

}  // namespace adavae
