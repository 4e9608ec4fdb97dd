// The frozen weights. Every struct is laid out as the ctypes structure of the same name in library.py.
// Axes: C n_embd, L layers, V vocabulary, A adapter bottleneck.
#pragma once

#include <cstdint>

#include "matrix.h"
#include "outcome.h"
#include "processor.h"
#include "row_ops.h"

namespace adavae {

struct Norm {
    const float* weight;  // (C,)
    const float* bias;    // (C,)
};

struct Layer {
    Norm ln_1;
    Norm ln_2;
    Matrix c_attn;     // C to 3 C
    Matrix attn_proj;  // C to C
    Matrix c_fc;       // C to n_inner
    Matrix mlp_proj;   // n_inner to C
};

struct Backbone {
    int32_t n_layer;
    int32_t n_head;
    int32_t n_embd;
    int32_t n_inner;
    int32_t vocab_size;
    int32_t n_positions;
    Activation activation;
    float epsilon;
    Int8Way int8_way;  // how its matrices are multiplied if they are kInt8Four
    const float* wte;  // (V, C)
    const float* wpe;  // (n_positions, C)
    Norm ln_f;
    const Layer* layers;  // (L,)
    Matrix lm_head;       // C to V
};

enum class Placement : int32_t { kParallelFfn = 0, kParallelAttention = 1, kSequentialAttention = 2, kNowhere = 3 };

struct Adapter {
    Matrix down;  // C to A
    Matrix up;    // A to C
};

// One side of an adapter set, the encoder's or the decoder's.
struct AdapterSet {
    const Adapter* adapters;  // of each layer, (num_layers,); null if there are none
    Placement placement;
    float scale;
    int32_t num_layers;  // number of blocks that its rows go through
    int32_t is_causal;   // of an encoder: a token sees itself and earlier ones, 0 or 1
};

}  // namespace adavae
