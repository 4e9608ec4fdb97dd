#include "decode_step.h"

#include <algorithm>
#include <vector>

#include "program.h"

namespace adavae {
namespace {

class DecodeProgram : Program {
  public:
    DecodeProgram(const Backbone& backbone, const Step& step, const std::vector<int>& order)
        : Program(backbone, groups_of(step.sets, order), step.num_rows), step_(step), order_(order) {
        for (int layer = 0; layer < backbone.n_layer; ++layer) add_layer(layer, step.num_rows);
        add_norm(backbone.ln_f, step.num_rows, Placement::kNowhere);
        phases_.push_back(phase_of({times(backbone.lm_head, normed_, 0, step.num_rows,
                                          [this](int row, int column, const float* sums, int count) {
            std::copy(sums, sums + count,
                      step_.logits + static_cast<int64_t>(order_[row]) * backbone_.vocab_size + column);
        })}));
    }

    void run() {
        begin_rows();
        Team::shared().run(phases_, step_.num_threads, step_.seconds);
        for (int row = 0; row < step_.num_rows; ++row) ++step_.lengths[row];
    }

  private:
    void begin_rows() {
        for (int row = 0; row < step_.num_rows; ++row) {
            const int own = order_[row];
            const float* token = backbone_.wte + step_.token_ids[own] * C_;
            const float* position = backbone_.wpe + step_.lengths[own] * C_;
            float* x = x_.row(row);
            for (int c = 0; c < C_; ++c) x[c] = token[c] + position[c];
            step_.is_filled[own * step_.is_filled_stride + step_.num_memory + step_.lengths[own]] = 1;
        }
    }

    void add_attention(int layer, int num_rows) override {
        const int heads_a_chunk = num_rows < 8 ? 1 : backbone_.n_head, chunks_a_row = backbone_.n_head / heads_a_chunk;
        phases_.push_back({Kind::kAttention, num_rows * chunks_a_row, [=, this](int chunk) {
            const int head = chunk % chunks_a_row * heads_a_chunk;
            attend_row(layer, chunk / chunks_a_row, head, head + heads_a_chunk);
        }});
    }

    // Writes the row's new key and value into the cache and attends to everything up to them.
    void attend_row(int layer, int row, int first_head, int last_head) {
        const int own = order_[row];
        const int position = step_.num_memory + static_cast<int>(step_.lengths[own]);
        const int64_t cache = layer * step_.layer_stride + own * step_.row_stride;
        thread_local std::vector<float> scores;
        scores.resize(position + 1);
        for (int head = first_head; head < last_head; ++head) {
            const int64_t places = cache + static_cast<int64_t>(head) * step_.width * D_;
            float* keys = step_.keys + places;
            float* values = step_.values + places;
            const float* query = qkv_.row(row) + head * D_;
            std::copy(query + C_, query + C_ + D_, keys + static_cast<int64_t>(position) * D_);
            std::copy(query + 2 * C_, query + 2 * C_ + D_, values + static_cast<int64_t>(position) * D_);
            attend(query, keys, values, step_.is_filled + own * step_.is_filled_stride, position + 1, D_, scores.data(),
                   attended_.row(row) + head * D_);
        }
    }

    const Step& step_;
    const std::vector<int>& order_;
};

Outcome checked(const Backbone& backbone, const Step& step) {
    for (int row = 0; row < step.num_rows; ++row) {
        const int64_t token = step.token_ids[row], length = step.lengths[row];
        if (token < 0 || token >= backbone.vocab_size) return Outcome::kTokenOutOfRange;
        if (length >= backbone.n_positions || step.num_memory + length >= step.width) return Outcome::kTooLong;
    }
    return Outcome::kDone;
}

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_decode_step(const adavae::Backbone* backbone, const adavae::Step* step) {
    const adavae::Outcome outcome = adavae::checked(*backbone, *step);
    if (outcome != adavae::Outcome::kDone) return outcome;
    return adavae::outcome_of([&] {
        const std::vector<int> order = adavae::sorted_rows(step->sets, step->num_rows);
        adavae::DecodeProgram(*backbone, *step, order).run();
    });
}
