// The linear layers around z, each row by its own adapter set: from v_z to q(z|x), and from z to keys and values in front
// of the text's in every decoder layer (paper Sections 2.2 and 2.3). Axes as in backbone.h, and: B rows, Z latent size.
#pragma once

#include "backbone.h"

namespace adavae {

// One adapter set's layers, of its own size. Laid out as `LatentSetFields` in library.py.
struct LatentSet {
    Matrix mu;          // v_z to Z
    Matrix logvar;      // v_z to Z
    Matrix projection;  // Z to positions * C
    const Matrix* psa;  // of each layer, C to 2 C: a key and a value; or null
    const Matrix* atm;  // of each layer, C to C: one vector for both; or null
    int32_t positions;
};

// Laid out as `PosteriorFields` in library.py.
struct Posteriors {
    int32_t num_rows;
    int32_t num_threads;
    const LatentSet* const* sets;  // (B,); rows of one set share the pointer
    const float* v_z;              // (B, v_z_width); a set reads as many as it has weights for
    int64_t v_z_width;
    float* mu;  // (B, Z): a set writes its own size, the rest is not written
    float* logvar;
    int64_t latent_size;  // Z of the widest set
};

// Laid out as `LatentMemoryFields` in library.py.
struct LatentMemory {
    int32_t num_rows;
    int32_t num_threads;
    const LatentSet* const* sets;  // (B,)
    const float* z;                // (B, Z); a set reads its own size
    int64_t latent_size;           // Z
    int32_t n_layer;
    int32_t n_embd;
    int32_t first_atm;      // add-to-memory's first position, behind those of pseudo self-attention
    int32_t num_positions;  // M, of all
    Int8Way int8_way;       // how kInt8Four matrices are multiplied
    float* keys_values;     // (L, B, M, 2 C), written; zero at positions that a row's set does not have
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_posteriors(const adavae::Posteriors* task);
extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_latent_memory(
    const adavae::LatentMemory* task);
