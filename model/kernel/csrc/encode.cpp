#include "encode.h"

#include <algorithm>
#include <vector>

#include "program.h"
#include "shares.h"

namespace adavae {
namespace {

// The rows of a text, once texts are sorted.
struct Span {
    int text, first, length;
};

// Deepest sets first, so that the rows of a layer are always at the front.
std::vector<Span> sorted_spans(const Texts& texts, const std::vector<int>& chosen) {
    std::vector<Span> spans;
    for (const int text : chosen) spans.push_back({text, 0, static_cast<int>(texts.lengths[text])});
    std::stable_sort(spans.begin(), spans.end(), [&](const Span& a, const Span& b) {
        const AdapterSet *left = texts.sets[a.text], *right = texts.sets[b.text];
        return left->num_layers != right->num_layers ? left->num_layers > right->num_layers : left < right;
    });
    int first = 0;
    for (Span& span : spans) {
        span.first = first;
        first += span.length;
    }
    return spans;
}

std::vector<Group> groups_of(const Texts& texts, const std::vector<Span>& spans) {
    std::vector<Group> groups;
    for (const Span& span : spans) {
        const AdapterSet* set = texts.sets[span.text];
        if (groups.empty() || set != groups.back().set) groups.push_back({set, span.first, span.first});
        groups.back().last = span.first + span.length;
    }
    return groups;
}

class EncodeProgram : Program {
  public:
    EncodeProgram(const Backbone& backbone, const Texts& texts, std::vector<Span> spans)
        : Program(backbone, groups_of(texts, spans), spans.back().first + spans.back().length),
          texts_(texts),
          spans_(std::move(spans)) {
        add_begin();
        for (int layer = 0; layer < groups_.front().set->num_layers; ++layer) {
            int num_rows = 0;
            for (const Group& group : groups_)
                if (layer < group.set->num_layers) num_rows = group.last;
            add_layer(layer, num_rows);
        }
        add_end();
    }

    void run(int num_threads, double* seconds) { Team::shared().run(phases_, num_threads, seconds); }

  private:
    void add_begin() {
        phases_.push_back({Kind::kNorm, num_texts(), [this](int number) {
            const Span& span = spans_[number];
            for (int t = 0; t < span.length; ++t) {
                const int64_t token = texts_.token_ids[static_cast<int64_t>(span.text) * texts_.width + t];
                const float *word = backbone_.wte + token * C_,
                            *position = backbone_.wpe + static_cast<int64_t>(t) * C_;
                float* x = x_.row(span.first + t);
                for (int c = 0; c < C_; ++c) x[c] = word[c] + position[c];
            }
        }});
    }

    void add_end() {
        phases_.push_back({Kind::kNorm, num_texts(), [this](int number) {
            const Span& span = spans_[number];
            const Norm& norm = backbone_.ln_f;
            for (int t = 0; t < span.length; ++t)
                layer_norm(x_.row(span.first + t), norm.weight, norm.bias, backbone_.epsilon, C_,
                           texts_.hidden + (static_cast<int64_t>(span.text) * texts_.width + t) * C_);
        }});
    }

    void add_attention(int, int num_rows) override {
        int seen = 0;
        while (seen < num_texts() && spans_[seen].first < num_rows) ++seen;
        phases_.push_back({Kind::kAttention, seen * backbone_.n_head, [this](int chunk) {
            attend_text(spans_[chunk / backbone_.n_head], chunk % backbone_.n_head);
        }});
    }

    // softmax(Q K^T / sqrt(D)) V of one head of one text; K^T and V are packed into panels first.
    void attend_text(const Span& span, int head) {
        const int T = span.length, width = 3 * C_;
        const float* queries = qkv_.row(span.first) + head * D_;
        thread_local std::vector<float> keys, values, scores;
        transpose_into_panels(queries + C_, T, D_, width, keys);   // (D, T)
        copy_into_panels(queries + 2 * C_, T, D_, width, values);  // (T, D)
        const int room = in_whole_lanes(T);
        scores.resize(static_cast<size_t>(T) * room);
        const Matrix key_matrix = of_panels(keys, D_, T), value_matrix = of_panels(values, T, D_);
        for (int panel = 0; panel < key_matrix.num_panels(); ++panel)
            multiply_panel(key_matrix, panel, queries, width, 0, T,
                           [&](int row, int column, const float* sums, int count) {
                std::copy(sums, sums + count, scores.data() + static_cast<int64_t>(row) * room + column);
            });
        const float scale = 1.0f / std::sqrt(static_cast<float>(D_));
        const bool is_causal = texts_.sets[span.text]->is_causal != 0;
        for (int row = 0; row < T; ++row) {
            float* shares = scores.data() + static_cast<int64_t>(row) * room;
            const int seen = is_causal ? row + 1 : T;
            softmax(shares, seen, scale);
            std::fill(shares + seen, shares + room, 0.0f);
        }
        for (int panel = 0; panel < value_matrix.num_panels(); ++panel)
            multiply_panel(value_matrix, panel, scores.data(), room, 0, T,
                           [&](int row, int column, const float* sums, int count) {
                std::copy(sums, sums + count, attended_.row(span.first + row) + head * D_ + column);
            });
    }

    static Matrix of_panels(const std::vector<float>& panels, int in, int out) {
        return {panels.data(), nullptr, nullptr, nullptr, in, out, Numbers::kFloat32};
    }

    static int panels_of(int out) { return (out + kPanel - 1) / kPanel; }

    // The panels of `rows`, (in, out), `stride` numbers apart.
    static void copy_into_panels(const float* rows, int in, int out, int64_t stride, std::vector<float>& panels) {
        panels.resize(static_cast<size_t>(panels_of(out)) * in * kPanel);
        float* to = panels.data();
        for (int column = 0; column < out; column += kPanel)
            for (int k = 0; k < in; ++k, to += kPanel) {
                const int count = std::min(kPanel, out - column);
                std::copy_n(rows + k * stride + column, count, to);
                std::fill(to + count, to + kPanel, 0.0f);
            }
    }

    // The panels of the transpose of `rows`, (out, in), `stride` numbers apart.
    static void transpose_into_panels(const float* rows, int out, int in, int64_t stride, std::vector<float>& panels) {
        panels.resize(static_cast<size_t>(panels_of(out)) * in * kPanel);
        for (int n = 0; n < panels_of(out) * kPanel; ++n) {
            float* to = panels.data() + static_cast<int64_t>(n / kPanel) * in * kPanel + n % kPanel;
            for (int k = 0; k < in; ++k) to[static_cast<int64_t>(k) * kPanel] = n < out ? rows[n * stride + k] : 0.0f;
        }
    }

    int num_texts() const { return static_cast<int>(spans_.size()); }

    const Texts& texts_;
    const std::vector<Span> spans_;
};

// One program, or one for each thread with about as many tokens.
std::vector<std::unique_ptr<EncodeProgram>> programs_of(const Backbone& backbone, const Texts& texts) {
    const std::vector<int> lengths(texts.lengths, texts.lengths + texts.num_texts);
    std::vector<std::unique_ptr<EncodeProgram>> programs;
    for (const std::vector<int>& share : even_shares(lengths, std::max(1, texts.num_threads)))
        programs.push_back(std::make_unique<EncodeProgram>(backbone, texts, sorted_spans(texts, share)));
    return programs;
}

Outcome checked(const Backbone& backbone, const Texts& texts) {
    for (int text = 0; text < texts.num_texts; ++text) {
        const int64_t length = texts.lengths[text];
        if (length < 1 || length > texts.width || length > backbone.n_positions) return Outcome::kTooLong;
        for (int64_t t = 0; t < length; ++t) {
            const int64_t token = texts.token_ids[static_cast<int64_t>(text) * texts.width + t];
            if (token < 0 || token >= backbone.vocab_size) return Outcome::kTokenOutOfRange;
        }
    }
    return Outcome::kDone;
}

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_encode(const adavae::Backbone* backbone, const adavae::Texts* texts) {
    const adavae::Outcome outcome = adavae::checked(*backbone, *texts);
    if (outcome != adavae::Outcome::kDone || texts->num_texts == 0) return outcome;
    return adavae::outcome_of(
        [&] { adavae::run_shares(adavae::programs_of(*backbone, *texts), texts->num_threads, texts->seconds); });
}
