#include "program.h"

#include <algorithm>

namespace adavae {

Program::Program(const Backbone& backbone, std::vector<Group> groups, int num_rows)
    : backbone_(backbone), C_(backbone.n_embd), D_(backbone.n_embd / backbone.n_head), groups_(std::move(groups)) {
    int bottleneck = 1;
    for (const Group& group : groups_) {
        has_sequential_ |= has(group, Placement::kSequentialAttention);
        if (group.set->adapters != nullptr) bottleneck = std::max(bottleneck, group.set->adapters[0].down.out);
    }
    for (Buffer* buffer : {&x_, &projected_}) buffer->resize(num_rows, C_);
    qkv_.resize(num_rows, 3 * C_);
    narrow_.resize(num_rows, bottleneck);
    resize(normed_, num_rows, C_);
    resize(attended_, num_rows, C_);
    resize(inner_, num_rows, backbone.n_inner);
}

void Program::resize(Input& input, int num_rows, int width) {
    input.numbers.resize(num_rows, width);
    if (is_int8()) input.bytes.resize(num_rows, width);
}

void Program::add_layer(int number, int num_rows) {
    const Layer& layer = backbone_.layers[number];
    add_norm(layer.ln_1, num_rows);
    std::vector<Product> project{
        frozen(layer.c_attn, normed_, num_rows, [this](int row, int column, const float* sums, int count) {
        std::copy(sums, sums + count, qkv_.row(row) + column);
    })};
    add_down(project, number, Placement::kParallelAttention, x_, num_rows);
    phases_.push_back(phase_of(std::move(project)));
    add_attention(number, num_rows);
    add_bytes(attended_, num_rows);
    Product leave =
        frozen(layer.attn_proj, attended_, num_rows, [this](int row, int column, const float* sums, int count) {
        if (is_sequential(row)) {  // its adapter comes before the sum
            std::copy(sums, sums + count, projected_.row(row) + column);
        } else {
            add(sums, count, x_.row(row) + column);
        }
    });
    phases_.push_back(phase_of({with_up(std::move(leave), number, Placement::kParallelAttention)}));
    add_sequential_adapters(number, num_rows);

    add_norm(layer.ln_2, num_rows);
    std::vector<Product> widen{
        frozen(layer.c_fc, normed_, num_rows, [this](int row, int column, const float* sums, int count) {
        activate(backbone_.activation, sums, count, inner_.numbers.row(row) + column);
    })};
    add_down(widen, number, Placement::kParallelFfn, x_, num_rows);
    phases_.push_back(phase_of(std::move(widen)));
    add_bytes(inner_, num_rows);
    Product shrink =
        frozen(layer.mlp_proj, inner_, num_rows,
               [this](int row, int column, const float* sums, int count) { add(sums, count, x_.row(row) + column); });
    phases_.push_back(phase_of({with_up(std::move(shrink), number, Placement::kParallelFfn)}));
}

bool Program::is_sequential(int row) const {
    if (!has_sequential_) return false;
    for (const Group& group : groups_)
        if (row < group.last) return has(group, Placement::kSequentialAttention);
    return false;
}

// A phase of whole rows.
Phase Program::each_row(int num_rows, std::function<void(int)> run) {
    constexpr int kRows = 8;
    const int a_chunk = num_rows <= 64 ? 1 : kRows;
    return {Kind::kNorm, (num_rows + a_chunk - 1) / a_chunk, [num_rows, a_chunk, run = std::move(run)](int chunk) {
        for (int row = chunk * a_chunk; row < std::min(num_rows, (chunk + 1) * a_chunk); ++row) run(row);
    }};
}

void Program::add_norm(const Norm& norm, int num_rows) {
    phases_.push_back(each_row(num_rows, [this, norm](int row) {
        float* output = normed_.numbers.row(row);
        layer_norm(x_.row(row), norm.weight, norm.bias, backbone_.epsilon, C_, output);
        if (is_int8()) normed_.bytes.take(row, output);
    }));
}

// The bytes of an input that is computed column by column.
void Program::add_bytes(Input& input, int num_rows) {
    if (!is_int8()) return;
    phases_.push_back(each_row(num_rows, [&input](int row) { input.bytes.take(row, input.numbers.row(row)); }));
}

// ReLU(Down(input)) of every set with this placement, alongside the phase's other products.
void Program::add_down(std::vector<Product>& products, int layer, Placement placement, Buffer& input, int num_rows) {
    for (const Group& group : groups_) {
        if (!has(group, placement) || group.first >= num_rows) continue;
        products.push_back(product_of(group.set->adapters[layer].down, input.row(0), C_, group.first, group.last,
                                      [this](int row, int column, const float* sums, int count) {
            activate(Activation::kRelu, sums, count, narrow_.row(row) + column);
        }));
    }
}

// The product, and then scale * Up(narrow) of every set with this placement on the same columns and rows.
Product Program::with_up(Product product, int layer, Placement placement) {
    auto run = [this, layer, placement, main = std::move(product.run)](int panel, int first, int last) {
        main(panel, first, last);
        add_up(panel, first, last, layer, placement);
    };
    return {product.num_panels, product.first, product.last, std::move(run)};
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
    std::vector<Product> down;
    add_down(down, layer, Placement::kSequentialAttention, projected_, num_rows);
    if (down.empty()) return;
    phases_.push_back(phase_of(std::move(down)));
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
