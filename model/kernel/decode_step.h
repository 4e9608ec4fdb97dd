// One decoding step of GPT-2 with adapters, for rows that may use different adapter sets (paper Section 2, Figure 1).
//
// Every struct is laid out as the ctypes structure of the same name in library.py. Axes: B rows, C n_embd, H heads, D head
// size, L layers, V vocabulary, M memory positions, W places of a row in the cache.
#pragma once

#include <cstdint>

#include "matrix.h"
#include "row_ops.h"

namespace adavae {

struct Norm {
    const float* weight;  // (C,)
    const float* bias;    // (C,)
};

struct Layer {
    Norm ln_1;
    Norm ln_2;
    Matrix c_attn;    // C to 3 C
    Matrix attn_proj; // C to C
    Matrix c_fc;      // C to n_inner
    Matrix mlp_proj;  // n_inner to C
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
    const float* wte;  // (V, C)
    const float* wpe;  // (n_positions, C)
    Norm ln_f;
    const Layer* layers;  // (L,)
    Matrix lm_head;       // C to V
};

enum class Placement : int32_t { kParallelFfn = 0, kParallelAttention = 1, kSequentialAttention = 2 };

struct Adapter {
    Matrix down;  // C to A
    Matrix up;    // A to C
};

struct AdapterSet {
    const Adapter* adapters;  // of each layer, (L,)
    Placement placement;
    float scale;
};

struct Step {
    int32_t num_rows;
    int32_t num_memory;
    int32_t width;                  // W: places of each row, memory first
    int32_t num_threads;
    const int64_t* token_ids;       // (B,)
    const AdapterSet* const* sets;  // (B,); rows of one set name the same
    int64_t* lengths;               // (B,): tokens taken in before; grows by one
    uint8_t* is_filled;             // (B, W): whether a row may look there; the new position is marked
    int64_t is_filled_stride;       // from row to row
    float* keys;                    // (L, B, H, W, D), each row's (H, W, D) in one piece
    float* values;                  // likewise
    int64_t layer_stride;           // of keys and values, in numbers
    int64_t row_stride;
    float* logits;                  // (B, V), written
    double* seconds;                // of each Kind, added to; or null
};

enum class Outcome : int32_t { kDone = 0, kTokenOutOfRange = 1, kTooLong = 2, kNoMemory = 3 };

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_decode_step(const adavae::Backbone* backbone, const adavae::Step* step);
