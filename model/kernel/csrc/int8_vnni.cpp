#include "int8_tiles.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#include <cstring>

#define ADAVAE_VNNI [[gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]]

namespace adavae {
namespace {

ADAVAE_VNNI inline __m512i four_of(const uint8_t* x) {
    int32_t four;
    std::memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

// Each row takes 2 registers of sums. Two multiply-adds start in a cycle and one takes five, so eight rows keep both units
// busy; with more the compiler no longer keeps the sums in registers.
template <int ROWS>
ADAVAE_VNNI void multiply_rows(const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                               int32_t (*sums)[kPanel]) {
    __m512i left[ROWS], right[ROWS];
    for (int row = 0; row < ROWS; ++row) left[row] = right[row] = _mm512_setzero_si512();
    for (int k = 0; k < depth; k += 4, panel += 4 * kPanel) {
        _mm_prefetch(reinterpret_cast<const char*>(panel) + kInt8PrefetchBytes, _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(panel) + kInt8PrefetchBytes + 64, _MM_HINT_T0);
        const __m512i left_weights = _mm512_loadu_si512(panel), right_weights = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row) {
            const __m512i value = four_of(x + row * x_stride + k);
            left[row] = _mm512_dpbusd_epi32(left[row], value, left_weights);
            right[row] = _mm512_dpbusd_epi32(right[row], value, right_weights);
        }
    }
    for (int row = 0; row < ROWS; ++row) {
        _mm512_storeu_si512(sums[row], left[row]);
        _mm512_storeu_si512(sums[row] + 16, right[row]);
    }
}

}  // namespace

void multiply_dot(int rows, const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                  int32_t (*sums)[kPanel]) {
    with_rows<kMaxDotRows>(rows, [=](auto num) { multiply_rows<num>(x, x_stride, panel, depth, sums); });
}

}  // namespace adavae

#elif !defined(__aarch64__)  // which has it in int8_udot.cpp

namespace adavae {

void multiply_dot(int, const uint8_t*, int64_t, const int8_t*, int, int32_t (*)[kPanel]) {}

}  // namespace adavae

#endif
