// Cross-entropy of rows of bfloat16 logits and its gradient, for training: a row is read from the cache, not from memory.
#pragma once

#include <cstdint>

#include "outcome.h"

namespace adavae {

// Laid out as `CrossEntropyFields` in library.py.
struct CrossEntropy {
    int32_t num_rows;
    int32_t num_threads;
    int64_t vocab_size;
    uint16_t* logits;        // (B, V); with weights the gradient is written in their place
    const int64_t* targets;  // (B,), each below V
    const float* weights;    // of each row in the sum, (B,); null for no gradient
    float* nll;              // (B,), written
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_cross_entropy(
    const adavae::CrossEntropy* task);
