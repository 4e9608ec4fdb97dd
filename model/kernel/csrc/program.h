// Shared by decoding and encoding: GPT-2's blocks with adapters, over rows that are one token each.
#pragma once

#include <memory>
#include <vector>

#include "backbone.h"
#include "groups.h"
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

// Phases over rows sorted by adapter set. Derived classes define how a row starts, and what it attends to.
class Program {
  protected:
    Program(const Backbone& backbone, std::vector<Group> groups, int num_rows);
    virtual ~Program() = default;

    // One block for rows [0, num_rows): x + attention, then x + MLP, each with its adapters.
    void add_layer(int number, int num_rows);
    void add_norm(const Norm& norm, int num_rows);
    virtual void add_attention(int layer, int num_rows) = 0;  // qkv_ to attended_

    const Backbone& backbone_;
    const int C_, D_;
    std::vector<Group> groups_;
    Buffer x_, normed_, qkv_, attended_, projected_, inner_, narrow_;
    std::vector<Phase> phases_;

  private:
    bool is_sequential(int row) const;

    void add_down(std::vector<Product>& products, int layer, Placement placement, Buffer& input, int num_rows);
    Product with_up(Product product, int layer, Placement placement);
    void add_up(int panel, int first, int last, int layer, Placement placement);
    void add_sequential_adapters(int layer, int num_rows);

    bool has_sequential_ = false;  // adapters, on any row
};

}  // namespace adavae
