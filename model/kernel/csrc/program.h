// Shared by decoding and encoding: GPT-2's blocks with adapters, over rows that are one token each.
#pragma once

#include <memory>
#include <vector>

#include "backbone.h"
#include "groups.h"
#include "int8_product.h"
#include "product.h"

namespace adavae {

using Group = GroupOf<AdapterSet>;

inline bool has(const Group& group, Placement placement) {
    return group.set->placement == placement;
}

// (rows, width) numbers, contiguous.
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

inline bool has_int8(const Group& group, Placement placement) {
    return has(group, placement) && group.set->adapters != nullptr &&
           group.set->adapters[0].down.numbers == Numbers::kInt8Four;
}

// What matrices read: rows of numbers, and the same rows as bytes where a matrix is int8.
class Input {
  public:
    // `way`: how its bytes are multiplied; kNone if none are.
    void resize(int rows, int width, Int8Way way) {
        numbers_.resize(rows, width);
        if (way != Int8Way::kNone) bytes_.resize(rows, width, way);
    }
    void take_bytes(int row, int width) { bytes_.take(row, numbers_.row(row), width); }

    float* row(int row) { return numbers_.row(row); }
    int width() const { return numbers_.width(); }
    const Int8Rows& bytes() const { return bytes_; }

  private:
    Buffer numbers_;
    Int8Rows bytes_;
};

// Phases over rows sorted by adapter set. Derived classes define how a row starts, and what it attends to.
class Program {
  protected:
    Program(const Backbone& backbone, std::vector<Group> groups, int num_rows);
    virtual ~Program() = default;

    // One block for rows [0, num_rows): x + attention, then x + MLP, each with its adapters.
    void add_layer(int number, int num_rows);
    // `reader` is where adapters read x beside the norm.
    void add_norm(const Norm& norm, int num_rows, Placement reader);
    virtual void add_attention(int layer, int num_rows) = 0;  // qkv_ to attended_

    // A matrix times rows [first, last) of `input`.
    template <typename Take>
    Product times(const Matrix& matrix, Input& input, int first, int last, Take take) {
        if (matrix.numbers == Numbers::kInt8Four)
            return int8_product_of(matrix, backbone_.int8_way, input.bytes(), first, last, take);
        return product_of(matrix, input.row(0), input.width(), first, last, take);
    }

    const Backbone& backbone_;
    const int C_, D_;
    std::vector<Group> groups_;
    Buffer qkv_;
    Input x_, normed_, attended_, projected_, inner_, narrow_;
    std::vector<Phase> phases_;

  private:
    const Group& group_of(int row) const;
    bool is_int8() const { return backbone_.lm_head.numbers == Numbers::kInt8Four; }
    bool is_int8(Placement placement) const;  // an adapter there, on any row
    void add_bytes(Input& input, int num_rows, Placement placement);
    void take_narrow_bytes(int row, Placement placement);

    void add_down(std::vector<Product>& products, int layer, Placement placement, Input& input, int num_rows);
    Product with_up(Product product, int layer, Placement placement);
    void add_up(int panel, int first, int last, int layer, Placement placement);
    void add_sequential_adapters(int layer, int num_rows);

    bool has_sequential_ = false;  // adapters, on any row
};

}  // namespace adavae
