// The flow over z: from noise, or from a z that is off, to a z that texts have (model/latent/flow.py).
//
//     v(z, t, label) = Output(norm(h)),  h = Input(z) + label, then for each block h += Down(gelu(Up(norm(h)) + time))
//
// Axes: N rows, Z latent size, W width, T steps.
#pragma once

#include "backbone.h"

namespace adavae {

struct FlowBlock {
    Norm norm;
    Matrix up;    // W to W
    Matrix down;  // W to W
};

// The network of the velocities. Laid out as `FlowFields` in library.py.
struct Flow {
    Matrix input;             // Z to W
    const FlowBlock* blocks;  // (depth,)
    Norm norm;
    Matrix output;  // W to Z
    int32_t depth;
    float epsilon;
};

// Rows to be led along it. Laid out as `FlowPathFields` in library.py.
struct FlowPath {
    int32_t num_rows;
    int32_t num_threads;
    int32_t num_steps;
    int32_t is_guided;     // 0 or 1
    float guidance;        // w in v + w (v_label - v)
    const float* times;    // (T + 1,), from where it begins to 1
    const float* moments;  // (T + 1, depth, W), what each block adds at each of these times
    const float* labels;   // (N, W), what each row's label adds; guided: (2 N, W), then what "any" adds
    float* z;              // (N, Z), standardised; overwritten with where the rows end
};

}  // namespace adavae

extern "C" __attribute__((visibility("default"))) adavae::Outcome adavae_flow(const adavae::Flow* flow,
                                                                              const adavae::FlowPath* path);
