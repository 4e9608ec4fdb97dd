// One matrix times rows, by itself: what the blocks are made of, for tests and measurements.
#pragma once

#include "matrix.h"
#include "outcome.h"
#include "processor.h"

namespace adavae {

// Laid out as `LinearFields` in library.py.
struct Linear {
    Matrix matrix;
    int32_t num_rows;
    int32_t num_threads;
    Int8Way int8_way;  // of a matrix of kInt8Four
    const float* x;    // (B, in)
    float* output;     // (B, out), written
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_linear(const adavae::Linear* task);
