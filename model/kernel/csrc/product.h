// The products of one phase: linear layers, each over its own rows, in chunks that threads claim one by one.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "matrix.h"
#include "team.h"

namespace adavae {

// Rows of a chunk, which one panel is multiplied with; the next chunk takes the same rows and the next panel. So rows are
// read again for every panel, from a core's second-level cache if they fit: 96 rows of 768 float32 are 288 KiB, of GPT-2's
// 3072 inner ones 1.1 MiB. Panels, which come from memory, are read once per 96 rows. 96 is a multiple of 12 and of 6
// (`kMaxRows`), so only the last chunk has a tile with fewer rows.
constexpr int kRowsAChunk = 96;

// A linear layer over rows [first, last).
struct Product {
    int num_panels;
    int first, last;
    std::function<void(int panel, int first, int last)> run;  // a panel for some of the rows

    int num_chunks() const { return num_panels * ((last - first + kRowsAChunk - 1) / kRowsAChunk); }

    // All panels for the first rows, then for the next.
    void run_chunk(int chunk) const {
        const int begin = first + chunk / num_panels * kRowsAChunk;
        run(chunk % num_panels, begin, std::min(last, begin + kRowsAChunk));
    }
};

// `matrix` times rows [first, last) of `x`, which points to row 0. `take(row, column, sums, count)` receives a row's
// outputs from one panel.
template <typename Take>
Product product_of(const Matrix& matrix, const float* x, int64_t x_stride, int first, int last, Take take) {
    return {matrix.num_panels(), first, last, [=, &matrix](int panel, int begin, int end) {
        multiply_panel(matrix, panel, x, x_stride, begin, end, take);
    }};
}

// All of them in one phase.
inline Phase phase_of(std::vector<Product> products) {
    std::vector<int> ends;
    for (const Product& product : products) ends.push_back((ends.empty() ? 0 : ends.back()) + product.num_chunks());
    const int num_chunks = ends.empty() ? 0 : ends.back();
    return {Kind::kProduct, num_chunks, [products = std::move(products), ends = std::move(ends)](int chunk) {
        const auto number = std::upper_bound(ends.begin(), ends.end(), chunk) - ends.begin();
        products[number].run_chunk(number == 0 ? chunk : chunk - ends[number - 1]);
    }};
}

}  // namespace adavae
