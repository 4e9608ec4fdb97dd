// What decoding and encoding share: GPT-2's blocks with adapters, over rows of which each is one token.
#pragma once

#include <memory>
#include <vector>

#include "backbone.h"
#include "groups.h"
#include "team.h"

namespace adavae {

using Group = GroupOf<AdapterSet>;

inline bool has(const Group& group, Placement placement) { return group.set->placement == placement; }

// (rows, width) numbers in one piece.
class Buffer {
  public:
    void resize(int rows, int width) {
        width_ = width;
        numbers_.reset(new float[static_cast<size_t>(rows) * width]);
    }
    float* row(int row) { return numbers_.get() + static_cast<int64_t>(row) * width_; }
    int width() const { return width_; }

  private:
    std::unique_ptr<float[]> numbers_;
    int width_ = 0;
};

// Phases over rows that stand sorted by adapter set. Who derives says how a row begins, and what it attends to.
class Program {
  protected:
    Program(const Backbone& backbone, std::vector<Group> groups, int num_rows);
    virtual ~Program() = default;

    // One block for rows [0, num_rows): x + attention, then x + MLP, each with its adapters.
    void add_layer(int number, int num_rows);
    void add_norm(const Norm& norm, int num_rows);
    virtual void add_attention(int layer, int num_rows) = 0;  // qkv_ to attended_

    // matrix(input) for rows [0, num_rows), in chunks of one panel and some rows; `finish` gets each chunk's panel and
    // rows once its outputs are taken.
    template <typename Take, typename Finish>
    Phase product(const Matrix& matrix, Buffer& input, int num_rows, Take take, Finish finish);

    const Backbone& backbone_;
    const int C_, D_;
    std::vector<Group> groups_;
    Buffer x_, normed_, qkv_, attended_, projected_, inner_, narrow_;
    std::vector<Phase> phases_;

  private:
    bool is_sequential(int row) const;

    void add_down(Phase& main, int layer, Placement placement, Buffer& input, int num_rows);
    void add_up(int panel, int first, int last, int layer, Placement placement);
    void add_sequential_adapters(int layer, int num_rows);

    bool has_sequential_ = false;  // adapters, on any row
};

template <typename Take, typename Finish>
Phase Program::product(const Matrix& matrix, Buffer& input, int num_rows, Take take, Finish finish) {
    const int num_panels = matrix.num_panels(), num_blocks = (num_rows + kRowsAChunk - 1) / kRowsAChunk;
    return {Kind::kProduct, num_panels * num_blocks, [=, &matrix, &input](int chunk) {
        const int panel = chunk % num_panels, first = chunk / num_panels * kRowsAChunk;
        const int last = std::min(num_rows, first + kRowsAChunk);
        multiply_panel(matrix, panel, input.row(0), input.width(), first, last, take);
        finish(panel, first, last);
    }};
}

}  // namespace adavae
