#include "int8_tiles.h"

#if defined(__AVX2__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

namespace adavae {
namespace {

constexpr int kMaxWordRows = 6;   // 12 registers of sums, 2 of weights, 1 of the row's words and 1 of products
constexpr int kBlockDepth = 512;  // a panel's part for all rows: it takes half of the nearest cache, 8 rows a quarter

// The four words of a row, for every four weights of an output.
inline __m256i four_of(const int16_t* words) {
    int64_t four;
    std::memcpy(&four, words, sizeof four);
    return _mm256_set1_epi64x(four);
}

// The sum plus products of words, two and two. Told to the compiler as an instruction: else it moves sums to and fro.
inline __m256i plus_products(__m256i sum, __m256i words, __m256i weights) {
    const __m256i products = _mm256_madd_epi16(words, weights);
    asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
    return sum;
}

// (ROWS, depth) words times 4 * kRegisters outputs at a time; every output has two sums, which meet at the end. A row takes
// all registers of a panel if it is alone, else a half or a quarter of them.
template <int ROWS>
void add_block(const int16_t* x, int64_t x_stride, const int8_t* panel, int depth, int32_t (*sums)[kPanel]) {
    constexpr int kRegisters = ROWS == 1 ? 8 : ROWS == 2 ? 4 : 2;
    for (int first = 0; first < kPanel; first += 4 * kRegisters) {
        __m256i pairs[ROWS][kRegisters];
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; ++i) pairs[row][i] = _mm256_setzero_si256();
        const int8_t* weights = panel + 4 * first;
        for (int k = 0; k < depth; k += 4, weights += 4 * kPanel) {
            for (int line = 0; line < 16 * kRegisters; line += 64)
                __builtin_prefetch(weights + kInt8PrefetchBytes + line);
            __m256i wide[kRegisters];
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; ++i) {
                const auto* four_outputs = reinterpret_cast<const __m128i*>(weights + 16 * i);
                wide[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128(four_outputs));
            }
#pragma GCC unroll 8
            for (int row = 0; row < ROWS; ++row) {
                const __m256i value = four_of(x + row * x_stride + k);
#pragma GCC unroll 8
                for (int i = 0; i < kRegisters; ++i) pairs[row][i] = plus_products(pairs[row][i], value, wide[i]);
            }
        }
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row) {
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; i += 2) {
                const __m256i eight = _mm256_hadd_epi32(pairs[row][i], pairs[row][i + 1]);  // 0 1 4 5 2 3 6 7
                auto* to = reinterpret_cast<__m256i*>(sums[row] + first + 4 * i);
                const __m256i in_order = _mm256_permute4x64_epi64(eight, _MM_SHUFFLE(3, 1, 2, 0));
                _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), in_order));
            }
        }
    }
}

}  // namespace

void multiply_words(int rows, const int16_t* x, int64_t x_stride, const int8_t* panel, int depth,
                    int32_t (*sums)[kPanel]) {
    const int num_tiles = (rows + kMaxWordRows - 1) / kMaxWordRows, most = (rows + num_tiles - 1) / num_tiles;
    std::fill_n(sums[0], rows * kPanel, 0);
    for (int begin = 0; begin < depth; begin += kBlockDepth) {
        const int count = std::min(kBlockDepth, depth - begin);
        const int8_t* block = panel + static_cast<int64_t>(begin) * kPanel;
        for (int row = 0; row < rows; row += most) {
            with_rows<kMaxWordRows>(std::min(most, rows - row), [&](auto num) {
                add_block<num>(x + row * x_stride + begin, x_stride, block, count, sums + row);
            });
        }
    }
}

}  // namespace adavae

#else

namespace adavae {

void multiply_words(int, const int16_t*, int64_t, const int8_t*, int, int32_t (*)[kPanel]) {}

}  // namespace adavae

#endif
