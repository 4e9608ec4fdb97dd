#include "latent.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "groups.h"
#include "int8_product.h"

namespace adavae {
namespace {

using Rows = GroupOf<LatentSet>;

// Rows of `width` numbers, in this order.
std::vector<float> gathered(const float* rows, int64_t width, const std::vector<int>& order) {
    std::vector<float> gathered(order.size() * width);
    for (size_t place = 0; place < order.size(); ++place)
        std::copy_n(rows + order[place] * width, width, gathered.data() + place * width);
    return gathered;
}

void compute(const Posteriors& task) {
    const std::vector<int> rows_in_order = sorted_rows(task.sets, task.num_rows);
    const std::vector<float> v_z = gathered(task.v_z, task.v_z_width, rows_in_order);
    std::vector<Product> products;
    for (const Rows& rows : groups_of(task.sets, rows_in_order)) {
        const float* own = v_z.data() + rows.first * task.v_z_width;
        const int* order = rows_in_order.data() + rows.first;
        for (const auto& [matrix, output] : {std::pair{&rows.set->mu, task.mu}, {&rows.set->logvar, task.logvar}})
            products.push_back(
                product_of(*matrix, own, task.v_z_width, 0, rows.count(),
                           [=, &task, output = output](int row, int column, const float* sums, int count) {
                std::copy_n(sums, count, output + order[row] * task.latent_size + column);
            }));
    }
    Team::shared().run({phase_of(std::move(products))}, task.num_threads, nullptr);
}

// z to the positions' vectors, then these to each layer's keys and values.
class MemoryProgram {
  public:
    explicit MemoryProgram(const LatentMemory& task)
        : task_(task),
          C_(task.n_embd),
          order_(sorted_rows(task.sets, task.num_rows)),
          groups_(groups_of(task.sets, order_)),
          z_(gathered(task.z, task.latent_size, order_)) {
        size_t num_vectors = 0;
        for (const Rows& rows : groups_) {
            first_vectors_.push_back(num_vectors);
            num_vectors += static_cast<size_t>(rows.count()) * rows.set->positions;
        }
        vectors_.resize(num_vectors * C_);
        if (has_bytes()) bytes_.resize(static_cast<int>(num_vectors), static_cast<int>(C_), task_.int8_way);
    }

    void run() {
        for (int row = 0; row < task_.num_rows; ++row) clear_missing(row);
        std::vector<Product> projections, infusions;
        for (size_t group = 0; group < groups_.size(); ++group) {
            const Rows& rows = groups_[group];
            const int first = static_cast<int>(first_vectors_[group]);
            projections.push_back(projection(rows, vectors_.data() + first * C_));
            for (int layer = 0; layer < task_.n_layer; ++layer) {
                if (rows.set->psa != nullptr)
                    infusions.push_back(infusion(rows, first, rows.set->psa[layer], layer, 0, 1));
                if (rows.set->atm != nullptr)
                    infusions.push_back(infusion(rows, first, rows.set->atm[layer], layer, task_.first_atm, 2));
            }
        }
        std::vector<Phase> phases{phase_of(std::move(projections))};
        const int num_vectors = static_cast<int>(vectors_.size() / C_);
        if (has_bytes())
            phases.push_back({Kind::kNorm, num_vectors, [this](int vector) {
                bytes_.take(vector, vectors_.data() + vector * C_, static_cast<int>(C_));
            }});
        phases.push_back(phase_of(std::move(infusions)));
        Team::shared().run(phases, task_.num_threads, nullptr);
    }

  private:
    // Zero at the positions that a row's set does not have.
    void clear_missing(int row) const {
        const LatentSet& set = *task_.sets[row];
        const int psa_end = set.psa != nullptr ? set.positions : 0;
        const int atm_end = task_.first_atm + (set.atm != nullptr ? set.positions : 0);
        for (int layer = 0; layer < task_.n_layer; ++layer) {
            float* output = task_.keys_values + (static_cast<int64_t>(layer) * task_.num_rows + row) * row_width();
            std::fill(output + psa_end * 2 * C_, output + task_.first_atm * 2 * C_, 0.0f);
            std::fill(output + atm_end * 2 * C_, output + row_width(), 0.0f);
        }
    }

    Product projection(const Rows& rows, float* vectors) const {
        const int64_t width = static_cast<int64_t>(rows.set->positions) * C_;
        return product_of(rows.set->projection, z_.data() + rows.first * task_.latent_size, task_.latent_size, 0,
                          rows.count(), [=](int row, int column, const float* sums, int count) {
            std::copy_n(sums, count, vectors + row * width + column);
        });
    }

    // A vector's outputs, repeated `times` times, become the key and value of its position. `first` is the group's first
    // vector.
    Product infusion(const Rows& rows, int first, const Matrix& matrix, int layer, int first_position,
                     int times) const {
        const int positions = rows.set->positions, last = first + rows.count() * positions;
        const int* order = order_.data() + rows.first;
        float* layer_output = task_.keys_values + static_cast<int64_t>(layer) * task_.num_rows * row_width();
        const auto take = [=, this](int place, int column, const float* sums, int count) {
            const int vector = place - first;
            float* output = layer_output + order[vector / positions] * row_width() +
                            (first_position + vector % positions) * 2 * C_ + column;
            for (int time = 0; time < times; ++time) std::copy_n(sums, count, output + time * C_);
        };
        if (matrix.numbers == Numbers::kInt8Four)
            return int8_product_of(matrix, task_.int8_way, bytes_, first, last, take);
        return product_of(matrix, vectors_.data(), C_, first, last, take);
    }

    // Whether a set's layers read bytes.
    bool has_bytes() const {
        return std::any_of(groups_.begin(), groups_.end(), [](const Rows& rows) {
            const Matrix* layers = rows.set->psa != nullptr ? rows.set->psa : rows.set->atm;
            return layers != nullptr && layers->numbers == Numbers::kInt8Four;
        });
    }

    int64_t row_width() const { return static_cast<int64_t>(task_.num_positions) * 2 * C_; }

    const LatentMemory& task_;
    const int64_t C_;
    const std::vector<int> order_;
    const std::vector<Rows> groups_;
    const std::vector<float> z_;
    std::vector<size_t> first_vectors_;  // of each group
    std::vector<float> vectors_;         // (rows, positions, C) of each group
    Int8Rows bytes_;                     // the same
};

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_posteriors(const adavae::Posteriors* task) {
    if (task->num_rows == 0) return adavae::Outcome::kDone;
    return adavae::outcome_of([&] { adavae::compute(*task); });
}

adavae::Outcome adavae_latent_memory(const adavae::LatentMemory* task) {
    if (task->num_rows == 0) return adavae::Outcome::kDone;
    return adavae::outcome_of([&] { adavae::MemoryProgram(*task).run(); });
}
