#include "linear.h"

#include <algorithm>

#include "int8_product.h"

namespace adavae {
namespace {

void compute(const Linear& task) {
    const auto take = [&task](int row, int column, const float* sums, int count) {
        std::copy(sums, sums + count, task.output + static_cast<int64_t>(row) * task.matrix.out + column);
    };
    const int in = task.matrix.in;
    if (task.matrix.numbers != Numbers::kInt8Four)
        return Team::shared().run({phase_of({product_of(task.matrix, task.x, in, 0, task.num_rows, take)})},
                                  task.num_threads, nullptr);
    Int8Rows bytes;
    bytes.resize(task.num_rows, in, task.int8_way);
    const Phase to_bytes{Kind::kNorm, task.num_rows,
                         [&](int row) { bytes.take(row, task.x + static_cast<int64_t>(row) * in, in); }};
    Team::shared().run(
        {to_bytes, phase_of({int8_product_of(task.matrix, task.int8_way, bytes, 0, task.num_rows, take)})},
        task.num_threads, nullptr);
}

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_linear(const adavae::Linear* task) {
    return adavae::outcome_of([&] { adavae::compute(*task); });
}
