// One vector register: as many float32 as this processor multiplies at once.
//
// The library is compiled once for AVX-512 and once for AVX2; nothing else in it knows which.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace adavae {

#if defined(__AVX512F__)

struct Lanes {
    static constexpr int kWidth = 16;
    static constexpr int kMaxRows = 12;  // 2 registers of sums a row, of 32

    __m512 value;

    static Lanes zero() { return {_mm512_setzero_ps()}; }
    static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
    static Lanes load(const uint16_t* from) {
        return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
    }
    void store(float* to) const { _mm512_storeu_ps(to, value); }
    Lanes plus_product(Lanes a, Lanes b) const { return {_mm512_fmadd_ps(a.value, b.value, value)}; }
};

#else

struct Lanes {
    static constexpr int kWidth = 8;
    static constexpr int kMaxRows = 6;  // 2 registers of sums a row, of 16

    __m256 value;

    static Lanes zero() { return {_mm256_setzero_ps()}; }
    static Lanes all(float x) { return {_mm256_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm256_loadu_ps(from)}; }
    static Lanes load(const uint16_t* from) {
        return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
    }
    void store(float* to) const { _mm256_storeu_ps(to, value); }
    Lanes plus_product(Lanes a, Lanes b) const { return {_mm256_fmadd_ps(a.value, b.value, value)}; }
};

#endif

// e^x for x of at most 88, to the last bit or two; written so that a loop over it is vectorised.
// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by its series to the seventh power (the next term is below 6e-9).
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding and taking it away rounds to a whole number
    const float n = (x * 1.44269504f + kRounder) - kRounder;
    float r = std::fma(n, -0.693359375f, x);     // ln 2 in two parts, the first exact in few bits
    r = std::fma(n, 2.12194440e-4f, r);
    float series = 1.0f / 5040;
    series = std::fma(series, r, 1.0f / 720);
    series = std::fma(series, r, 1.0f / 120);
    series = std::fma(series, r, 1.0f / 24);
    series = std::fma(series, r, 1.0f / 6);
    series = std::fma(series, r, 0.5f);
    series = std::fma(series, r, 1.0f);
    series = std::fma(series, r, 1.0f);
    const int32_t exponent = (static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &exponent, sizeof power);
    return series * power;
}

}  // namespace adavae
