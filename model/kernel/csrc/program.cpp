#include "program.h"

#include <algorithm>

namespace adavae {

namespace {

void nothing(int, int, int) {}

}  // namespace

Program::Program(const Backbone& backbone, std::vector<Group> groups, int num_rows)
    : backbone_(backbone), C_(backbone.n_embd), D_(backbone.n_embd / backbone.n_head), groups_(std::move(groups)) {
    int bottleneck = 1;
    for (const Group& group : groups_) {
        has_sequential_ |= has(group, Placement::kSequentialAttention);
        if (group.set->adapters != nullptr) bottleneck = std::max(bottleneck, group.set->adapters[0].down.out);
    }
    for (Buffer* buffer : {&x_, &normed_, &attended_, &projected_}) buffer->resize(num_rows, C_);
    qkv_.resize(num_rows, 3 * C_);
    inner_.resize(num_rows, backbone.n_inner);
    narrow_.resize(num_rows, bottleneck);
}

void Program::add_layer(int number, int num_rows) {
    const Layer& layer = backbone_.layers[number];
    add_norm(layer.ln_1, num_rows);
    Phase project = product(layer.c_attn, normed_, num_rows, [this](int row, int column, const float* sums, int count) {
        std::copy(sums, sums + count, qkv_.row(row) + column);
    }, nothing);
    add_down(project, number, Placement::kParallelAttention, x_, num_rows);
    phases_.push_back(std::move(project));
    add_attention(number, num_rows);
    phases_.push_back(product(layer.attn_proj, attended_, num_rows,
                              [this](int row, int column, const float* sums, int count) {
        if (is_sequential(row)) {  // its adapter comes before the sum
            std::copy(sums, sums + count, projected_.row(row) + column);
        } else {
            add(sums, count, x_.row(row) + column);
        }
    }, [this, number](int panel, int first, int last) {
        add_up(panel, first, last, number, Placement::kParallelAttention);
    }));
    add_sequential_adapters(number, num_rows);

    add_norm(layer.ln_2, num_rows);
    Phase widen = product(layer.c_fc, normed_, num_rows, [this](int row, int column, const float* sums, int count) {
        activate(backbone_.activation, sums, count, inner_.row(row) + column);
    }, nothing);
    add_down(widen, number, Placement::kParallelFfn, x_, num_rows);
    phases_.push_back(std::move(widen));
    phases_.push_back(product(layer.mlp_proj, inner_, num_rows,
                              [this](int row, int column, const float* sums, int count) {
        add(sums, count, x_.row(row) + column);
    }, [this, number](int panel, int first, int last) {
        add_up(panel, first, last, number, Placement::kParallelFfn);
    }));
}

bool Program::is_sequential(int row) const {
    if (!has_sequential_) return false;
    for (const Group& group : groups_)
        if (row < group.last) return has(group, Placement::kSequentialAttention);
    return false;
}

void Program::add_norm(const Norm& norm, int num_rows) {
    constexpr int kRows = 8;
    const int a_chunk = num_rows <= 64 ? 1 : kRows;
    phases_.push_back({Kind::kNorm, (num_rows + a_chunk - 1) / a_chunk, [this, norm, num_rows, a_chunk](int chunk) {
        for (int row = chunk * a_chunk; row < std::min(num_rows, (chunk + 1) * a_chunk); ++row)
            layer_norm(x_.row(row), norm.weight, norm.bias, backbone_.epsilon, C_, normed_.row(row));
    }});
}

// ReLU(Down(input)) of every set with this placement, as further chunks of `main`.
void Program::add_down(Phase& main, int layer, Placement placement, Buffer& input, int num_rows) {
    std::vector<Phase> parts;
    std::vector<int> ends{main.num_chunks};
    for (const Group& group : groups_) {
        if (!has(group, placement) || group.first >= num_rows) continue;
        const Matrix& down = group.set->adapters[layer].down;
        const int num_panels = down.num_panels(), num_blocks = (group.last - group.first + kRowsAChunk - 1) / kRowsAChunk;
        parts.push_back({Kind::kProduct, num_panels * num_blocks, [this, &down, &group, &input, num_panels](int chunk) {
            const int first = group.first + chunk / num_panels * kRowsAChunk;
            multiply_panel(down, chunk % num_panels, input.row(0), C_, first, std::min(group.last, first + kRowsAChunk),
                           [this](int row, int column, const float* sums, int count) {
                activate(Activation::kRelu, sums, count, narrow_.row(row) + column);
            });
        }});
        ends.push_back(ends.back() + parts.back().num_chunks);
    }
    if (parts.empty()) return;
    parts.insert(parts.begin(), std::move(main));
    main = {Kind::kProduct, ends.back(), [parts = std::move(parts), ends](int chunk) {
        const auto part = std::upper_bound(ends.begin(), ends.end(), chunk) - ends.begin();
        parts[part].run(part == 0 ? chunk : chunk - ends[part - 1]);
    }};
}

// x += scale * Up(narrow), 32 columns of rows [first, last), for every set with this placement.
void Program::add_up(int panel, int first, int last, int layer, Placement placement) {
    for (const Group& group : groups_) {
        if (!has(group, placement) || group.first >= last || group.last <= first) continue;
        multiply_panel(group.set->adapters[layer].up, panel, narrow_.row(0), narrow_.width(),
                       std::max(first, group.first), std::min(last, group.last),
                       [&](int row, int column, float* sums, int count) {
            for (int i = 0; i < count; ++i) sums[i] *= group.set->scale;
            add(sums, count, x_.row(row) + column);
        });
    }
}

// x += attended + scale * Up(ReLU(Down(attended))), where a set reads the attention's output.
void Program::add_sequential_adapters(int layer, int num_rows) {
    Phase down{Kind::kProduct, 0, [](int) {}};
    add_down(down, layer, Placement::kSequentialAttention, projected_, num_rows);
    if (down.num_chunks == 0) return;
    phases_.push_back(std::move(down));
    phases_.push_back({Kind::kProduct, (C_ + kPanel - 1) / kPanel, [this, layer, num_rows](int panel) {
        add_up(panel, 0, num_rows, layer, Placement::kSequentialAttention);
        const int column = panel * kPanel, count = std::min(kPanel, C_ - column);
        for (const Group& group : groups_) {
            if (!has(group, Placement::kSequentialAttention) || group.first >= num_rows) continue;
            for (int row = group.first; row < group.last; ++row)
                add(projected_.row(row) + column, count, x_.row(row) + column);
        }
    }});
}

}  // namespace adavae
