#include "flow.h"

#include <algorithm>
#include <vector>

#include "program.h"

namespace adavae {
namespace {

// Heun's method, all rows side by side: at every step two velocities, of here and of where the first leads.
class Integration {
  public:
    Integration(const Flow& flow, const FlowPath& path)
        : flow_(flow),
          path_(path),
          Z_(flow.input.in),
          W_(flow.input.out),
          N_(path.num_rows),
          num_evaluated_(path.is_guided ? 2 * N_ : N_) {
        ahead_.resize(num_evaluated_, Z_);
        velocity_.resize(num_evaluated_, Z_);
        first_velocity_.resize(N_, Z_);
        for (Buffer* buffer : {&hidden_, &normed_, &inner_}) buffer->resize(num_evaluated_, W_);
    }

    void run() {
        phases_.push_back(each_row(N_, [this](int row) { look_from(row, here(row)); }));
        for (int step = 0; step < path_.num_steps; ++step) {
            const float length = path_.times[step + 1] - path_.times[step];
            add_velocities(step);
            phases_.push_back(each_row(N_, [this, length](int row) { try_out(row, length); }));
            add_velocities(step + 1);
            phases_.push_back(each_row(N_, [this, length](int row) { go_on(row, length); }));
        }
        Team::shared().run(phases_, path_.num_threads, nullptr);
    }

  private:
    // Where a row is; at the end, where it ends.
    float* here(int row) const { return path_.z + static_cast<int64_t>(row) * Z_; }

    // What the network reads next: with a label, and without where that is asked as well.
    void look_from(int row, const float* from) {
        for (int evaluated = row; evaluated < num_evaluated_; evaluated += N_)
            std::copy_n(from, Z_, ahead_.row(evaluated));
    }

    // The velocity of a row, guided; it stands in the place of the first.
    const float* settled(int row) {
        float* velocity = velocity_.row(row);
        if (path_.is_guided) {
            const float* without = velocity_.row(row + N_);
            for (int i = 0; i < Z_; ++i) velocity[i] = without[i] + path_.guidance * (velocity[i] - without[i]);
        }
        return velocity;
    }

    void try_out(int row, float length) {
        const float *velocity = settled(row), *from = here(row);
        std::copy_n(velocity, Z_, first_velocity_.row(row));
        float* ahead = ahead_.row(row);
        for (int i = 0; i < Z_; ++i) ahead[i] = from[i] + length * velocity[i];
        if (path_.is_guided) std::copy_n(ahead, Z_, ahead_.row(row + N_));
    }

    void go_on(int row, float length) {
        const float *velocity = settled(row), *first = first_velocity_.row(row);
        float* to = here(row);
        for (int i = 0; i < Z_; ++i) to[i] += 0.5f * length * (first[i] + velocity[i]);
        look_from(row, to);
    }

    // `ahead_` to `velocity_`, at one of the times.
    void add_velocities(int moment) {
        add_product(flow_.input, ahead_, [this](int row, int column, const float* sums, int count) {
            const float* label = path_.labels + static_cast<int64_t>(row) * W_ + column;
            float* hidden = hidden_.row(row) + column;
            for (int i = 0; i < count; ++i) hidden[i] = sums[i] + label[i];
        });
        for (int number = 0; number < flow_.depth; ++number) {
            const FlowBlock& block = flow_.blocks[number];
            const float* time = path_.moments + (static_cast<int64_t>(moment) * flow_.depth + number) * W_;
            add_norm(block.norm);
            add_product(block.up, normed_, [this, time](int row, int column, float* sums, int count) {
                add(time + column, count, sums);
                activate(Activation::kGelu, sums, count, inner_.row(row) + column);
            });
            add_product(block.down, inner_, [this](int row, int column, const float* sums, int count) {
                add(sums, count, hidden_.row(row) + column);
            });
        }
        add_norm(flow_.norm);
        add_product(flow_.output, normed_, [this](int row, int column, const float* sums, int count) {
            std::copy_n(sums, count, velocity_.row(row) + column);
        });
    }

    void add_norm(const Norm& norm) {
        phases_.push_back(each_row(num_evaluated_, [this, &norm](int row) {
            layer_norm(hidden_.row(row), norm.weight, norm.bias, flow_.epsilon, W_, normed_.row(row));
        }));
    }

    template <typename Take>
    void add_product(const Matrix& matrix, Buffer& input, Take take) {
        phases_.push_back(phase_of({product_of(matrix, input.row(0), input.width(), 0, num_evaluated_, take)}));
    }

    const Flow& flow_;
    const FlowPath& path_;
    const int Z_, W_, N_, num_evaluated_;
    Buffer ahead_, velocity_, first_velocity_;
    Buffer hidden_, normed_, inner_;
    std::vector<Phase> phases_;
};

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_flow(const adavae::Flow* flow, const adavae::FlowPath* path) {
    if (path->num_rows == 0) return adavae::Outcome::kDone;
    return adavae::outcome_of([&] { adavae::Integration(*flow, *path).run(); });
}
