// One decoding step for rows that may use different adapter sets (paper Section 2, Figure 1).
// Axes as in backbone.h, and: B rows, H heads, D head size, M memory positions, W places of a row in the cache.
#pragma once

#include "backbone.h"

namespace adavae {

// Laid out as `StepFields` in library.py.
struct Step {
    int32_t num_rows;
    int32_t num_memory;
    int32_t width;  // W: places of each row, memory first
    int32_t num_threads;
    const int64_t* token_ids;       // (B,)
    const AdapterSet* const* sets;  // (B,); rows of one set share the pointer
    int64_t* lengths;               // (B,): tokens read so far; incremented
    uint8_t* is_filled;             // (B, W): whether a row may look there; the new position is marked
    int64_t is_filled_stride;       // from row to row
    float* keys;                    // (L, B, H, W, D), each row's (H, W, D) in one piece
    float* values;                  // likewise
    int64_t layer_stride;           // of keys and values, in numbers
    int64_t row_stride;
    float* logits;    // (B, V), written
    double* seconds;  // of each Kind, added to; or null
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_decode_step(const adavae::Backbone* backbone,
                                                                                     const adavae::Step* step);
