// Products of rows of bytes with a frozen int8 matrix: exact sums, and then each row's and each output's scale.
#pragma once

#include <algorithm>

#include "int8_rows.h"
#include "product.h"

namespace adavae {

// y[n] = scale * scales[n] * (sum of byte * weight - zero * sum of weights) + bias[n], for one row and a panel.
inline void to_floats(const Matrix& matrix, int column, ByteScale of_row, const int32_t* sums, float* output) {
    const int32_t* totals = matrix.totals + column;
    const float *scales = matrix.scales + column, *bias = matrix.bias + column;
    for (int i = 0; i < kPanel; ++i)
        output[i] = static_cast<float>(sums[i] - of_row.zero * totals[i]) * (of_row.scale * scales[i]) + bias[i];
}

// As `multiply_panel`, for a matrix of kInt8Four.
template <typename Take>
inline void multiply_int8_panel(const Matrix& matrix, Int8Way way, int panel, const Int8Rows& x, int first, int last,
                                Take take) {
    alignas(64) int32_t sums[kMaxTileRows][kPanel];
    alignas(64) float output[kPanel];
    const int depth = padded_depth(matrix.in);
    const int column = panel * kPanel, num_columns = std::min(kPanel, matrix.out - column);
    const int8_t* weights = static_cast<const int8_t*>(matrix.panels) + static_cast<int64_t>(panel) * depth * kPanel;
    const Tiles tiles(way == Int8Way::kAmx && last - first > kMaxDotRows);
    for (int row = first; row < last;) {
        const bool has_tiles = way == Int8Way::kAmx && last - row > kMaxDotRows;
        const int rows = std::min(has_tiles ? kMaxTileRows : kMaxDotRows, last - row);
        if (has_tiles) {
            Tiles::multiply(rows, x.row(row), x.stride(), weights, depth, sums, row == first);
        } else if (way == Int8Way::kWords) {
            multiply_words(rows, x.words(row), x.stride() / 2, weights, depth, sums);
        } else {
            multiply_dot(rows, x.row(row), x.stride(), weights, depth, sums);
        }
        for (int tile_row = 0; tile_row < rows; ++tile_row, ++row) {
            to_floats(matrix, column, x.scale(row), sums[tile_row], output);
            take(row, column, output, num_columns);
        }
    }
}

// As `product_of`, for a matrix of kInt8Four.
template <typename Take>
Product int8_product_of(const Matrix& matrix, Int8Way way, const Int8Rows& x, int first, int last, Take take) {
    return {matrix.num_panels(), first, last, [=, &matrix, &x](int panel, int begin, int end) {
        multiply_int8_panel(matrix, way, panel, x, begin, end, take);
    }};
}

}  // namespace adavae
