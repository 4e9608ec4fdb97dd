#include "int8_tiles.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define ADAVAE_DOT [[gnu::target("arch=armv8.2-a+dotprod")]]

namespace adavae {
namespace {

// The sum of a row's bytes.
ADAVAE_DOT inline uint32_t total_of(const uint8_t* x, int depth) {
    uint32x4_t total = vdupq_n_u32(0);
    for (int k = 0; k < depth; k += 16) total = vdotq_u32(total, vld1q_u8(x + k), vdupq_n_u8(1));
    return vaddvq_u32(total);
}

// Adds the products of four bytes of each row, the FOUR-th of `bytes`, with the weights of 4 * REGISTERS outputs.
template <int FOUR, int ROWS, int REGISTERS>
ADAVAE_DOT [[gnu::always_inline]] inline void add_four(const uint8x16_t (&bytes)[ROWS], const int8_t* panel,
                                                       uint32x4_t (&sums)[ROWS][REGISTERS]) {
    const uint8_t* weights = reinterpret_cast<const uint8_t*>(panel) + FOUR * 4 * kPanel;
    for (int line = 0; line < 16 * REGISTERS; line += 64) __builtin_prefetch(weights + kInt8PrefetchBytes + line);
    for (int i = 0; i < REGISTERS; ++i) {
        const uint8x16_t raised = veorq_u8(vld1q_u8(weights + 16 * i), vdupq_n_u8(128));
        for (int row = 0; row < ROWS; ++row) sums[row][i] = vdotq_laneq_u32(sums[row][i], raised, bytes[row], FOUR);
    }
}

// UDOT takes bytes and weights without a sign: 128 is added to every weight, and 128 times the sum of the row's bytes is
// taken off at the end. Sums may wrap on the way, and do so back. A row takes all registers of a panel if there are one or
// two, half of them up to four, else a quarter: 16 of the 32 registers are sums, and up to 8 have bytes.
template <int ROWS>
ADAVAE_DOT void multiply_rows(const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                              int32_t (*sums)[kPanel]) {
    constexpr int kRegisters = ROWS <= 2 ? 8 : ROWS <= 4 ? 4 : 2;
    uint32_t added[ROWS];
    for (int row = 0; row < ROWS; ++row) added[row] = 128 * total_of(x + row * x_stride, depth);
    for (int first = 0; first < kPanel; first += 4 * kRegisters) {
        uint32x4_t raised_sums[ROWS][kRegisters] = {};
        const int8_t* weights = panel + 4 * first;
        for (int k = 0; k < depth; k += 16, weights += 16 * kPanel) {
            uint8x16_t bytes[ROWS];
            for (int row = 0; row < ROWS; ++row) bytes[row] = vld1q_u8(x + row * x_stride + k);
            add_four<0>(bytes, weights, raised_sums);
            add_four<1>(bytes, weights, raised_sums);
            add_four<2>(bytes, weights, raised_sums);
            add_four<3>(bytes, weights, raised_sums);
        }
        for (int row = 0; row < ROWS; ++row) {
            for (int i = 0; i < kRegisters; ++i) {
                const uint32x4_t sum = vsubq_u32(raised_sums[row][i], vdupq_n_u32(added[row]));
                vst1q_s32(sums[row] + first + 4 * i, vreinterpretq_s32_u32(sum));
            }
        }
    }
}

}  // namespace

void multiply_dot(int rows, const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                  int32_t (*sums)[kPanel]) {
    with_rows<kMaxDotRows>(rows, [=](auto num) { multiply_rows<num>(x, x_stride, panel, depth, sums); });
}

}  // namespace adavae

#endif
