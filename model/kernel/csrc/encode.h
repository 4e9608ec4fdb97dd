// The encoder's blocks over texts of different lengths and adapter sets, without padding (paper Section 2.1).
// Axes as in backbone.h, and: B texts, T tokens of the longest.
#pragma once

#include "backbone.h"

namespace adavae {

// Laid out as `TextsFields` in library.py.
struct Texts {
    int32_t num_texts;
    int32_t width;  // T
    int32_t num_threads;
    const int64_t* token_ids;       // (B, T), right-padded
    const int64_t* lengths;         // (B,), at least 1
    const AdapterSet* const* sets;  // (B,); texts of one set share the pointer
    float* hidden;                  // (B, T, C): final hidden states; padding is not written
    double* seconds;                // of each Kind, added to; or null
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_encode(const adavae::Backbone* backbone,
                                                                                const adavae::Texts* texts);
