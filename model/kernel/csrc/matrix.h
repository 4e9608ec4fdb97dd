// Products of a few rows with a frozen matrix stored in panels.
//
// A panel is 32 adjacent outputs, (K, 32) in memory, so that a product reads it once from front to back. Every sum
// runs over k in order, whatever the number of rows: a row's result is the same, bit for bit, in any batch.
#pragma once

#include <algorithm>

#include "lanes.h"

namespace adavae {

// Outputs stored together: two registers of 16 for AVX-512, twice two of 8 for AVX2, twice four of 4 for NEON, a cache
// line of 64 bytes as float16.
constexpr int kPanel = 32;
// How far ahead of the multiplication a panel is fetched. With 12 rows of x, one row of a panel (64 bytes as float16)
// takes 24 multiply-adds, 12 cycles at two per cycle; memory answers after 80 to 100 ns, some 300 cycles. 2048 bytes are
// 32 such rows, 384 cycles.
constexpr int kPrefetchBytes = 2048;

// What a matrix is stored as. As `Numbers` in library.py.
enum class Numbers : int32_t {
    kFloat32 = 0,
    kFloat16 = 1,
    kInt8 = 2,      // times float32: for matrices of a few columns, or whose rows have numbers far from the others
    kInt8Four = 3,  // times bytes (int8_product.h): four weights of an output lie together
};

// A linear layer. Laid out as `MatrixFields` in library.py.
struct Matrix {
    const void* panels;     // (ceil(out / 32), in, 32), zero beyond `out`; kInt8Four: see int8_tiles.h
    const float* bias;      // (out,), or null; kInt8Four: (ceil(out / 32) * 32,)
    const float* scales;    // of each output, (ceil(out / 32) * 32,); null for floats
    const int32_t* totals;  // of each output's weights, likewise; null but for kInt8Four
    int32_t in;
    int32_t out;
    Numbers numbers;

    int num_panels() const { return (out + kPanel - 1) / kPanel; }
};

// (ROWS, in) times a panel: all of its outputs at once where the sums of so few rows leave registers for them, else two
// registers of outputs after the other.
template <int ROWS, typename Weight>
inline void multiply_tile(const float* x, int64_t x_stride, const Weight* panel, int in, float (*sums)[kPanel]) {
    constexpr int kRegisters = ROWS <= Lanes::kMaxWideRows ? kPanel / Lanes::kWidth : 2;
    for (int first = 0; first < kPanel; first += kRegisters * Lanes::kWidth) {
        Lanes tile[ROWS][kRegisters];
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; ++i) tile[row][i] = Lanes::zero();
        const Weight* weights = panel + first;
        for (int k = 0; k < in; ++k, weights += kPanel) {
            __builtin_prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes);
            Lanes columns[kRegisters];
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; ++i) columns[i] = Lanes::load(weights + i * Lanes::kWidth);
#pragma GCC unroll 12
            for (int row = 0; row < ROWS; ++row) {
                const Lanes value = Lanes::all(x[row * x_stride + k]);
#pragma GCC unroll 8
                for (int i = 0; i < kRegisters; ++i) tile[row][i] = tile[row][i].plus_product(value, columns[i]);
            }
        }
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
            for (int i = 0; i < kRegisters; ++i) tile[row][i].store(sums[row] + first + i * Lanes::kWidth);
    }
}

template <int ROWS, typename Weight>
[[gnu::noinline]] void multiply_at_most(int rows, const float* x, int64_t x_stride, const Weight* panel, int in,
                                        float (*sums)[kPanel]) {
    if (rows == ROWS) return multiply_tile<ROWS>(x, x_stride, panel, in, sums);
    if constexpr (ROWS > 1) multiply_at_most<ROWS - 1>(rows, x, x_stride, panel, in, sums);
}

// Multiplies rows [first, last) of `x` with one panel; `take(row, column, sums, num_columns)` gets each row's outputs,
// bias included.
template <typename Take>
inline void multiply_panel(const Matrix& matrix, int panel, const float* x, int64_t x_stride, int first, int last,
                           Take take) {
    alignas(64) float sums[Lanes::kMaxRows][kPanel];
    const int column = panel * kPanel, num_columns = std::min(kPanel, matrix.out - column);
    const int64_t offset = static_cast<int64_t>(panel) * matrix.in * kPanel;
    for (int row = first; row < last; row += Lanes::kMaxRows) {
        const int rows = std::min(Lanes::kMaxRows, last - row);
        const float* from = x + row * x_stride;
        if (matrix.numbers == Numbers::kFloat16) {
            multiply_at_most<Lanes::kMaxRows>(rows, from, x_stride,
                                              static_cast<const uint16_t*>(matrix.panels) + offset, matrix.in, sums);
        } else if (matrix.numbers == Numbers::kInt8) {
            multiply_at_most<Lanes::kMaxRows>(rows, from, x_stride, static_cast<const int8_t*>(matrix.panels) + offset,
                                              matrix.in, sums);
        } else {
            multiply_at_most<Lanes::kMaxRows>(rows, from, x_stride, static_cast<const float*>(matrix.panels) + offset,
                                              matrix.in, sums);
        }
        for (int tile_row = 0; tile_row < rows; ++tile_row) {
            if (matrix.scales != nullptr) {
                for (int i = 0; i < kPanel; ++i) sums[tile_row][i] *= matrix.scales[column + i];
            }
            if (matrix.bias != nullptr) {
                for (int i = 0; i < num_columns; ++i) sums[tile_row][i] += matrix.bias[column + i];
            }
            take(row + tile_row, column, sums[tile_row], num_columns);
        }
    }
}

}  // namespace adavae
