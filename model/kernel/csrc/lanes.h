// As many float32 as are multiplied at once: one vector register, or two of NEON.
//
// The library is compiled once for AVX-512 and once for AVX2, or for NEON; of the products in floats only this file
// depends on which.
#pragma once

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

namespace adavae {

#if defined(__AVX512F__)

struct Lanes {
    static constexpr int kWidth = 16;
    // Rows at a time. Each takes 2 registers of sums, 24 of the 32; 2 hold weights and 1 the row's number. A multiply-add
    // has a latency of 4 cycles and 2 start per cycle, so 8 independent sums keep both units busy; more rows also share
    // the cost of loading a panel's row and widening it from float16.
    static constexpr int kMaxRows = 12;
    static constexpr int kMaxWideRows = 12;  // at a time with all columns of a panel, which are two registers

    __m512 value;

    static Lanes zero() { return {_mm512_setzero_ps()}; }
    static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
    static Lanes load(const uint16_t* from) {
        return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
    }
    static Lanes load(const int8_t* from) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
    }
    void store(float* to) const { _mm512_storeu_ps(to, value); }
    Lanes plus_product(Lanes a, Lanes b) const { return {_mm512_fmadd_ps(a.value, b.value, value)}; }
    Lanes smaller(Lanes other) const { return {_mm512_min_ps(value, other.value)}; }
    Lanes larger(Lanes other) const { return {_mm512_max_ps(value, other.value)}; }
};

#elif defined(__AVX2__)

struct Lanes {
    static constexpr int kWidth = 8;
    // Likewise with 16 registers: 12 of sums, 2 of weights, 1 of the row's number; 12 sums keep two units busy up to a
    // latency of 6 cycles.
    static constexpr int kMaxRows = 6;
    static constexpr int kMaxWideRows = 2;  // 8 sums, and 4 registers of weights

    __m256 value;

    static Lanes zero() { return {_mm256_setzero_ps()}; }
    static Lanes all(float x) { return {_mm256_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm256_loadu_ps(from)}; }
    static Lanes load(const uint16_t* from) {
        return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
    }
    static Lanes load(const int8_t* from) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
        return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
    }
    void store(float* to) const { _mm256_storeu_ps(to, value); }
    Lanes plus_product(Lanes a, Lanes b) const { return {_mm256_fmadd_ps(a.value, b.value, value)}; }
    Lanes smaller(Lanes other) const { return {_mm256_min_ps(value, other.value)}; }
    Lanes larger(Lanes other) const { return {_mm256_max_ps(value, other.value)}; }
};

#elif defined(__aarch64__)

// Two registers of 4 numbers, so that a row's number, once loaded, is multiplied with 16 weights and not with 8.
struct Lanes {
    static constexpr int kWidth = 8;
    // Likewise with 32 registers, of which each row takes 4: 24 of sums, 4 of weights, 1 of the row's number. A single row
    // takes all columns of a panel, and so has 8 independent sums, which keep two units busy where a sum waits 4 cycles for
    // the one before.
    static constexpr int kMaxRows = 6;
    static constexpr int kMaxWideRows = 1;

    float32x4_t low, high;

    static Lanes zero() { return all(0.0f); }
    static Lanes all(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
    static Lanes load(const float* from) { return {vld1q_f32(from), vld1q_f32(from + 4)}; }
    static Lanes load(const uint16_t* from) {
        const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(from));
        return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
    }
    static Lanes load(const int8_t* from) {
        const int16x8_t numbers = vmovl_s8(vld1_s8(from));
        return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(numbers))), vcvtq_f32_s32(vmovl_high_s16(numbers))};
    }
    void store(float* to) const { vst1q_f32(to, low), vst1q_f32(to + 4, high); }
    Lanes plus_product(Lanes a, Lanes b) const {
        return {vfmaq_f32(low, a.low, b.low), vfmaq_f32(high, a.high, b.high)};
    }
    Lanes smaller(Lanes other) const { return {vminq_f32(low, other.low), vminq_f32(high, other.high)}; }
    Lanes larger(Lanes other) const { return {vmaxq_f32(low, other.low), vmaxq_f32(high, other.high)}; }
};

#endif

// e^x for x of at most 88, exact to the last bit or two; written so that loops over it are vectorised.
// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by its series to the seventh power (the next term is below 6e-9).
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to a whole number
    const float n = (x * 1.44269504f + kRounder) - kRounder;
    float r = std::fma(n, -0.693359375f, x);  // ln 2 in two parts, the first exact in few bits
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

// erf(x), off by 5e-7 at most (Abramowitz and Stegun 1964, 7.1.26), in loops that are vectorised.
inline float error_function(float x) {
    const float size = std::fabs(x);
    const float t = 1.0f / std::fma(0.3275911f, size, 1.0f);
    float series = 1.061405429f;
    series = std::fma(series, t, -1.453152027f);
    series = std::fma(series, t, 1.421413741f);
    series = std::fma(series, t, -0.284496736f);
    series = std::fma(series, t, 0.254829592f);
    return std::copysign(1.0f - series * t * exponential(-size * size), x);
}

}  // namespace adavae
