// GELU with its slope over bfloat16 numbers, for training: both come of one exponential.
#pragma once

#include <cstdint>

#include "outcome.h"

namespace adavae {

// Laid out as `GeluFields` in library.py.
struct Gelu {
    int64_t count;
    int32_t num_threads;
    const uint16_t* x;
    uint16_t* output;  // written
    uint16_t* slope;   // written
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_gelu(const adavae::Gelu* task);
