#include "decode_step.h"

#include <algorithm>
#include <vector>

#include "program.h"
#include "shares.h"

namespace adavae {
namespace {

class DecodeProgram : Program {
  public:
    // `order` has the step's rows that are computed, sorted by set.
    DecodeProgram(const Backbone& backbone, const Step& step, std::vector<int> order)
        : Program(backbone, groups_of(step.sets, order), static_cast<int>(order.size())),
          step_(step),
          order_(std::move(order)) {
        const int num_rows = static_cast<int>(order_.size());
        for (int layer = 0; layer < backbone.n_layer; ++layer) add_layer(layer, num_rows);
        add_norm(backbone.ln_f, num_rows, Placement::kNowhere);
        phases_.push_back(phase_of(
            {times(backbone.lm_head, normed_, 0, num_rows, [this](int row, int column, const float* sums, int count) {
            std::copy(sums, sums + count,
                      step_.logits + static_cast<int64_t>(order_[row]) * backbone_.vocab_size + column);
        })}));
    }

    void run(int num_threads, double* seconds) {
        begin_rows();
        Team::shared().run(phases_, num_threads, seconds);
    }

  private:
    void begin_rows() {
        for (size_t row = 0; row < order_.size(); ++row) {
            const int own = order_[row];
            const float* token = backbone_.wte + step_.token_ids[own] * C_;
            const float* position = backbone_.wpe + step_.lengths[own] * C_;
            float* x = x_.row(static_cast<int>(row));
            for (int c = 0; c < C_; ++c) x[c] = token[c] + position[c];
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
        scores.resize(in_whole_lanes(position + 1));
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
    const std::vector<int> order_;
};

// Bytes of weights for each row of a share, beyond which threads share every matrix: one that goes alone reads all of them,
// and that then takes longer than rows that travel between caches (measured with 25 MB and with 124 MB of weights).
constexpr int64_t kMostBytesARow = 8'000'000;

int64_t num_weights(const Backbone& backbone) {
    const auto size = [](const Matrix& matrix) { return static_cast<int64_t>(matrix.in) * matrix.out; };
    const Layer& layer = backbone.layers[0];
    return backbone.n_layer * (size(layer.c_attn) + size(layer.attn_proj) + size(layer.c_fc) + size(layer.mlp_proj)) +
           size(backbone.lm_head);
}

using Programs = std::vector<std::unique_ptr<DecodeProgram>>;

// One program, or one for each thread with adjacent rows of the order, so that few sets are read twice. Floats are
// multiplied for longer than their rows travel: all threads share those.
Programs programs_of(const Backbone& backbone, const Step& step) {
    const std::vector<int> order = sorted_rows(step.sets, step.num_rows);
    const bool has_shares = backbone.lm_head.numbers == Numbers::kInt8Four && step.num_rows >= step.num_threads &&
                            step.num_rows / step.num_threads * kMostBytesARow >= num_weights(backbone);
    const int num_shares = has_shares ? step.num_threads : 1;
    Programs programs;
    for (int share = 0; share < num_shares; ++share) {
        const auto first = order.begin() + step.num_rows * share / num_shares;
        const auto last = order.begin() + step.num_rows * (share + 1) / num_shares;
        programs.push_back(std::make_unique<DecodeProgram>(backbone, step, std::vector<int>(first, last)));
    }
    return programs;
}

// Whether rows may look at the positions behind what they have read.
void fill_new_positions(const Step& step, bool is_filled) {
    for (int row = 0; row < step.num_rows; ++row)
        step.is_filled[row * step.is_filled_stride + step.num_memory + step.lengths[row]] = is_filled;
}

// Afterwards all rows are a token longer, or, after an exception, none is.
void compute(const Backbone& backbone, const Step& step) {
    const Programs programs = programs_of(backbone, step);
    fill_new_positions(step, true);
    try {
        run_shares(programs, step.num_threads, step.seconds);
    } catch (...) {
        fill_new_positions(step, false);
        throw;
    }
    for (int row = 0; row < step.num_rows; ++row) ++step.lengths[row];
}

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
    return adavae::outcome_of([&] { adavae::compute(*backbone, *step); });
}
