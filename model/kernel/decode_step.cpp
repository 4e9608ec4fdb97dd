#include "decode_step.h"

#include <algorithm>
#include <new>
#include <vector>

#include "team.h"

namespace adavae {
namespace {

// Rows of one adapter set, neighbours once the rows are sorted.
struct Group {
    const AdapterSet* set;  // null for the bare backbone
    int first, last;

    bool has(Placement placement) const { return set != nullptr && set->placement == placement; }
};

// The arithmetic of one step, as a list of phases. Rows stand sorted by adapter set in every buffer of its own.
class StepProgram {
  public:
    StepProgram(const Backbone& backbone, const Step& step);

    void run();

  private:
    void add_layer(int layer);
    void add_norm(const Norm& norm);
    void add_down(Phase& main, int layer, Placement placement, const float* input);
    void add_up(int panel, int layer, Placement placement);
    void add_sequential_adapters(int layer);
    void attend_row(int layer, int row, int first_head, int last_head);
    void begin_rows();
    void end_rows();

    float* row_of(std::vector<float>& buffer, int row, int width) {
        return buffer.data() + static_cast<int64_t>(row) * width;
    }

    const Backbone& backbone_;
    const Step& step_;
    const int B_, C_, D_;
    int A_ = 1;                 // of the widest set
    std::vector<int> order_;    // which row of the step stands at each sorted place
    std::vector<Group> groups_;
    std::vector<float> x_, normed_, qkv_, attended_, projected_, inner_, narrow_;
    std::vector<Phase> phases_;
};

StepProgram::StepProgram(const Backbone& backbone, const Step& step)
    : backbone_(backbone), step_(step), B_(step.num_rows), C_(backbone.n_embd), D_(backbone.n_embd / backbone.n_head) {
    for (int row = 0; row < B_; ++row) order_.push_back(row);
    std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) { return step.sets[a] < step.sets[b]; });
    for (int place = 0; place < B_; ++place) {
        const AdapterSet* set = step.sets[order_[place]];
        if (place == 0 || set != groups_.back().set) groups_.push_back({set, place, place});
        groups_.back().last = place + 1;
        if (set != nullptr) A_ = std::max(A_, set->adapters[0].down.out);
    }
    const auto floats = [&](int width) { return static_cast<size_t>(B_) * width; };
    x_.resize(floats(C_));
    normed_.resize(floats(C_));
    qkv_.resize(floats(3 * C_));
    attended_.resize(floats(C_));
    projected_.resize(floats(C_));
    inner_.resize(floats(backbone.n_inner));
    narrow_.resize(floats(A_));
    for (int layer = 0; layer < backbone.n_layer; ++layer) add_layer(layer);
    add_norm(backbone.ln_f);
    phases_.push_back({Kind::kProduct, backbone.lm_head.num_panels(), [this](int panel) {
        multiply_panel(backbone_.lm_head, panel, normed_.data(), C_, 0, B_,
                       [this](int row, int column, const float* sums, int count) {
            std::copy(sums, sums + count,
                      step_.logits + static_cast<int64_t>(order_[row]) * backbone_.vocab_size + column);
        });
    }});
}

// One block: x + attention, then x + MLP, each with its adapters.
void StepProgram::add_layer(int number) {
    const Layer& layer = backbone_.layers[number];
    add_norm(layer.ln_1);
    Phase project{Kind::kProduct, layer.c_attn.num_panels(), [this, &layer](int panel) {
        multiply_panel(layer.c_attn, panel, normed_.data(), C_, 0, B_,
                       [this](int row, int column, const float* sums, int count) {
            std::copy(sums, sums + count, row_of(qkv_, row, 3 * C_) + column);
        });
    }};
    add_down(project, number, Placement::kParallelAttention, x_.data());
    phases_.push_back(std::move(project));

    const int heads_a_chunk = B_ < 8 ? 1 : backbone_.n_head, chunks_a_row = backbone_.n_head / heads_a_chunk;
    phases_.push_back({Kind::kAttention, B_ * chunks_a_row, [this, number, heads_a_chunk, chunks_a_row](int chunk) {
        const int head = chunk % chunks_a_row * heads_a_chunk;
        attend_row(number, chunk / chunks_a_row, head, head + heads_a_chunk);
    }});

    phases_.push_back({Kind::kProduct, layer.attn_proj.num_panels(), [this, &layer, number](int panel) {
        for (const Group& group : groups_) {
            const bool is_adapted = group.has(Placement::kSequentialAttention);  // before it is added to x
            multiply_panel(layer.attn_proj, panel, attended_.data(), C_, group.first, group.last,
                           [&](int row, int column, const float* sums, int count) {
                float* to = row_of(is_adapted ? projected_ : x_, row, C_) + column;
                for (int i = 0; i < count; ++i) to[i] = is_adapted ? sums[i] : to[i] + sums[i];
            });
        }
        add_up(panel, number, Placement::kParallelAttention);
    }});
    add_sequential_adapters(number);

    add_norm(layer.ln_2);
    Phase widen{Kind::kProduct, layer.c_fc.num_panels(), [this, &layer](int panel) {
        multiply_panel(layer.c_fc, panel, normed_.data(), C_, 0, B_,
                       [this](int row, int column, const float* sums, int count) {
            activate(backbone_.activation, sums, count, row_of(inner_, row, backbone_.n_inner) + column);
        });
    }};
    add_down(widen, number, Placement::kParallelFfn, x_.data());
    phases_.push_back(std::move(widen));

    phases_.push_back({Kind::kProduct, layer.mlp_proj.num_panels(), [this, &layer, number](int panel) {
        multiply_panel(layer.mlp_proj, panel, inner_.data(), backbone_.n_inner, 0, B_,
                       [this](int row, int column, const float* sums, int count) {
            float* to = row_of(x_, row, C_) + column;
            for (int i = 0; i < count; ++i) to[i] += sums[i];
        });
        add_up(panel, number, Placement::kParallelFfn);
    }});
}

void StepProgram::add_norm(const Norm& norm) {
    phases_.push_back({Kind::kNorm, B_, [this, norm](int row) {
        layer_norm(row_of(x_, row, C_), norm.weight, norm.bias, backbone_.epsilon, C_, row_of(normed_, row, C_));
    }});
}

// ReLU(Down(input)) of every set with this placement, as further chunks of `main`.
void StepProgram::add_down(Phase& main, int layer, Placement placement, const float* input) {
    struct Part {
        const Group* group;
        int first_chunk;
    };
    std::vector<Part> parts;
    int num_chunks = main.num_chunks;
    for (const Group& group : groups_) {
        if (!group.has(placement)) continue;
        parts.push_back({&group, num_chunks});
        num_chunks += group.set->adapters[layer].down.num_panels();
    }
    if (parts.empty()) return;
    main = {main.kind, num_chunks, [this, layer, input, parts, own = main.num_chunks, run = std::move(main.run)](int chunk) {
        if (chunk < own) return run(chunk);
        const auto later = std::upper_bound(parts.begin(), parts.end(), chunk,
                                            [](int wanted, const Part& part) { return wanted < part.first_chunk; });
        const Part& part = *(later - 1);
        const Matrix& down = part.group->set->adapters[layer].down;
        multiply_panel(down, chunk - part.first_chunk, input, C_, part.group->first, part.group->last,
                       [this](int row, int column, const float* sums, int count) {
            activate(Activation::kRelu, sums, count, row_of(narrow_, row, A_) + column);
        });
    }};
}

// x += scale * Up(narrow), 32 columns of it, for every set with this placement.
void StepProgram::add_up(int panel, int layer, Placement placement) {
    for (const Group& group : groups_) {
        if (!group.has(placement)) continue;
        multiply_panel(group.set->adapters[layer].up, panel, narrow_.data(), A_, group.first, group.last,
                       [&](int row, int column, const float* sums, int count) {
            float* to = row_of(x_, row, C_) + column;
            for (int i = 0; i < count; ++i) to[i] += group.set->scale * sums[i];
        });
    }
}

// x += attended + scale * Up(ReLU(Down(attended))), where a set reads the attention's output.
void StepProgram::add_sequential_adapters(int layer) {
    Phase down{Kind::kProduct, 0, [](int) {}};
    add_down(down, layer, Placement::kSequentialAttention, projected_.data());
    if (down.num_chunks == 0) return;
    phases_.push_back(std::move(down));
    phases_.push_back({Kind::kProduct, backbone_.layers[layer].attn_proj.num_panels(), [this, layer](int panel) {
        add_up(panel, layer, Placement::kSequentialAttention);
        const int column = panel * kPanel, count = std::min(kPanel, C_ - column);
        for (const Group& group : groups_) {
            if (!group.has(Placement::kSequentialAttention)) continue;
            for (int row = group.first; row < group.last; ++row) {
                float* to = row_of(x_, row, C_) + column;
                const float* from = row_of(projected_, row, C_) + column;
                for (int i = 0; i < count; ++i) to[i] += from[i];
            }
        }
    }});
}

// Puts the row's new key and value into the cache and looks at everything up to it.
void StepProgram::attend_row(int layer, int row, int first_head, int last_head) {
    const int own = order_[row];
    const int position = step_.num_memory + static_cast<int>(step_.lengths[own]);
    const int64_t cache = layer * step_.layer_stride + own * step_.row_stride;
    const float* qkv = row_of(qkv_, row, 3 * C_);
    thread_local std::vector<float> scores;
    scores.resize(position + 1);
    for (int head = first_head; head < last_head; ++head) {
        const int64_t places = cache + static_cast<int64_t>(head) * step_.width * D_;
        float* keys = step_.keys + places;
        float* values = step_.values + places;
        const float* query = qkv + head * D_;
        std::copy(query + C_, query + C_ + D_, keys + static_cast<int64_t>(position) * D_);
        std::copy(query + 2 * C_, query + 2 * C_ + D_, values + static_cast<int64_t>(position) * D_);
        attend(query, keys, values, step_.is_filled + own * step_.is_filled_stride, position + 1, D_, scores.data(),
               row_of(attended_, row, C_) + head * D_);
    }
}

void StepProgram::begin_rows() {
    for (int row = 0; row < B_; ++row) {
        const int own = order_[row];
        const float* token = backbone_.wte + step_.token_ids[own] * C_;
        const float* position = backbone_.wpe + step_.lengths[own] * C_;
        float* x = row_of(x_, row, C_);
        for (int c = 0; c < C_; ++c) x[c] = token[c] + position[c];
        step_.is_filled[own * step_.is_filled_stride + step_.num_memory + step_.lengths[own]] = 1;
    }
}

void StepProgram::end_rows() {
    for (int row = 0; row < B_; ++row) ++step_.lengths[row];
}

void StepProgram::run() {
    begin_rows();
    Team::shared().run(phases_, step_.num_threads, step_.seconds);
    end_rows();
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
    try {
        adavae::StepProgram(*backbone, *step).run();
    } catch (const std::bad_alloc&) {
        return adavae::Outcome::kNoMemory;
    }
    return adavae::Outcome::kDone;
}
