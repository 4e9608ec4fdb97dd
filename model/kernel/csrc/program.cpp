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
    const bool has_parallel = is_int8(Placement::kParallelFfn) || is_int8(Placement::kParallelAttention);
    const bool has_sequential = is_int8(Placement::kSequentialAttention);
    const auto way_if = [&backbone](bool has_bytes) { return has_bytes ? backbone.int8_way : Int8Way::kNone; };
    qkv_.resize(num_rows, 3 * C_);
    x_.resize(num_rows, C_, way_if(has_parallel));
    normed_.resize(num_rows, C_, way_if(is_int8()));
    attended_.resize(num_rows, C_, way_if(is_int8()));
    projected_.resize(num_rows, C_, way_if(has_sequential));
    inner_.resize(num_rows, backbone.n_inner, way_if(is_int8()));
    narrow_.resize(num_rows, bottleneck, way_if(has_parallel || has_sequential));
}

bool Program::is_int8(Placement placement) const {
    return std::any_of(groups_.begin(), groups_.end(), [=](const Group& group) { return has_int8(group, placement); });
}

const Group& Program::group_of(int row) const {
    return *std::find_if(groups_.begin(), groups_.end(), [row](const Group& group) { return row < group.last; });
}

void Program::add_layer(int number, int num_rows) {
    const Layer& layer = backbone_.layers[number];
    add_norm(layer.ln_1, num_rows, Placement::kParallelAttention);
    std::vector<Product> project{
        times(layer.c_attn, normed_, 0, num_rows, [this](int row, int column, const float* sums, int count) {
        std::copy(sums, sums + count, qkv_.row(row) + column);
    })};
    add_down(project, number, Placement::kParallelAttention, x_, num_rows);
    phases_.push_back(phase_of(std::move(project)));
    add_attention(number, num_rows);
    add_bytes(attended_, num_rows, Placement::kParallelAttention);
    Product leave =
        times(layer.attn_proj, attended_, 0, num_rows, [this](int row, int column, const float* sums, int count) {
        if (has_sequential_ &&
            has(group_of(row), Placement::kSequentialAttention)) {  // its adapter comes before the sum
            std::copy(sums, sums + count, projected_.row(row) + column);
        } else {
            add(sums, count, x_.row(row) + column);
        }
    });
    phases_.push_back(phase_of({with_up(std::move(leave), number, Placement::kParallelAttention)}));
    add_sequential_adapters(number, num_rows);

    add_norm(layer.ln_2, num_rows, Placement::kParallelFfn);
    std::vector<Product> widen{
        times(layer.c_fc, normed_, 0, num_rows, [this](int row, int column, const float* sums, int count) {
        activate(backbone_.activation, sums, count, inner_.row(row) + column);
    })};
    add_down(widen, number, Placement::kParallelFfn, x_, num_rows);
    phases_.push_back(phase_of(std::move(widen)));
    add_bytes(inner_, num_rows, Placement::kParallelFfn);
    Product shrink =
        times(layer.mlp_proj, inner_, 0, num_rows,
              [this](int row, int column, const float* sums, int count) { add(sums, count, x_.row(row) + column); });
    phases_.push_back(phase_of({with_up(std::move(shrink), number, Placement::kParallelFfn)}));
}

void Program::add_norm(const Norm& norm, int num_rows, Placement reader) {
    const bool is_read = is_int8(reader);
    phases_.push_back(each_row(num_rows, [this, norm, is_read](int row) {
        layer_norm(x_.row(row), norm.weight, norm.bias, backbone_.epsilon, C_, normed_.row(row));
        if (is_int8()) normed_.take_bytes(row, C_);
        if (is_read) x_.take_bytes(row, C_);
    }));
}

// The bytes of an input that is computed column by column, and of what the adapters beside it narrow to.
void Program::add_bytes(Input& input, int num_rows, Placement placement) {
    const bool has_narrow = is_int8(placement);
    if (!is_int8() && !has_narrow) return;
    phases_.push_back(each_row(num_rows, [this, &input, placement, has_narrow](int row) {
        if (is_int8()) input.take_bytes(row, input.width());
        if (has_narrow) take_narrow_bytes(row, placement);
    }));
}

void Program::take_narrow_bytes(int row, Placement placement) {
    const Group& group = group_of(row);
    if (has_int8(group, placement)) narrow_.take_bytes(row, group.set->adapters[0].up.in);
}

// ReLU(Down(input)) of every set with this placement, alongside the phase's other products.
void Program::add_down(std::vector<Product>& products, int layer, Placement placement, Input& input, int num_rows) {
    for (const Group& group : groups_) {
        if (!has(group, placement) || group.first >= num_rows) continue;
        products.push_back(times(group.set->adapters[layer].down, input, group.first, group.last,
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
        const Matrix& up = group.set->adapters[layer].up;
        const int begin = std::max(first, group.first), end = std::min(last, group.last);
        const auto take = [&](int row, int column, float* sums, int count) {
            for (int i = 0; i < count; ++i) sums[i] *= group.set->scale;
            add(sums, count, x_.row(row) + column);
        };
        if (up.numbers == Numbers::kInt8Four) {
            multiply_int8_panel(up, backbone_.int8_way, panel, narrow_.bytes(), begin, end, take);
        } else {
            multiply_panel(up, panel, narrow_.row(0), narrow_.width(), begin, end, take);
        }
    }
}

// x += attended + scale * Up(ReLU(Down(attended))), where a set reads the attention's output.
void Program::add_sequential_adapters(int layer, int num_rows) {
    constexpr Placement kHere = Placement::kSequentialAttention;
    std::vector<Product> down;
    add_down(down, layer, kHere, projected_, num_rows);
    if (down.empty()) return;
    if (is_int8(kHere))
        phases_.push_back(each_row(num_rows, [this](int row) {
            if (has_int8(group_of(row), kHere)) projected_.take_bytes(row, C_);
        }));
    phases_.push_back(phase_of(std::move(down)));
    if (is_int8(kHere)) phases_.push_back(each_row(num_rows, [this](int row) { take_narrow_bytes(row, kHere); }));
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
