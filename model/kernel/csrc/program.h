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

// What the frozen matrices read: rows of numbers, and the same rows as bytes where the matrices are int8.
struct Input {
    Buffer numbers;
    Int8Rows bytes;
};

// Phases over rows sorted by adapter set. Derived classes define how a row starts, and what it attends to.
class Program {
  protected:
    Program(const Backbone& backbone, std::vector<Group> groups, int num_rows);
    virtual ~Program() = default;

    // One block for rows [0, num_rows): x + attention, then x + MLP, each with its adapters.
    void add_layer(int number, int num_rows);
    void add_norm(const Norm& norm, int num_rows);
    virtual void add_attention(int layer, int num_rows) = 0;  // qkv_ to attended_

    // A frozen matrix times rows [0, num_rows) of `input`.
    template <typename Take>
    Product frozen(const Matrix& matrix, Input& input, int num_rows, Take take) {
        if (matrix.numbers == Numbers::kInt8Four)
            return int8_product_of(matrix, backbone_.int8_way, input.bytes, 0, num_rows, take);
        return product_of(matrix, input.numbers.row(0), input.numbers.width(), 0, num_rows, take);
    }

    const Backbone& backbone_;
    const int C_, D_;
    std::vector<Group> groups_;
    Buffer x_, qkv_, projected_, narrow_;
    Input normed_, attended_, inner_;
    std::vector<Phase> phases_;

  private:
    bool is_sequential(int row) const;
    bool is_int8() const { return backbone_.lm_head.numbers == Numbers::kInt8Four; }
    void resize(Input& input, int num_rows, int width);
    void add_bytes(Input& input, int num_rows);
    static Phase each_row(int num_rows, std::function<void(int)> run);

    void add_down(std::vector<Product>& products, int layer, Placement placement, Buffer& input, int num_rows);
    Product with_up(Product product, int layer, Placement placement);
    void add_up(int panel, int first, int last, int layer, Placement placement);
    void add_sequential_adapters(int layer, int num_rows);

    bool has_sequential_ = false;  // adapters, on any row
};

}  // namespace adavae
