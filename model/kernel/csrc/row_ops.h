// Operations on one row other than matrix products: layer norm, activations, sums, attention.
#pragma once

#include <algorithm>
#include <limits>

#include "lanes.h"

namespace adavae {

enum class Activation : int32_t { kGeluTanh = 0, kGelu = 1, kRelu = 2 };

inline void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int C, float* output) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < C; ++c) sum += x[c];
    const float mean = sum / C;
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; ++c) squares += (x[c] - mean) * (x[c] - mean);
    const float scale = 1.0f / std::sqrt(squares / C + epsilon);
#pragma omp simd
    for (int c = 0; c < C; ++c) output[c] = (x[c] - mean) * scale * weight[c] + bias[c];
}

inline void activate(Activation activation, const float* x, int count, float* output) {
    switch (activation) {
        case Activation::kGeluTanh:  // x (1 + tanh u) / 2 = x / (1 + e^(-2u))
#pragma omp simd
            for (int i = 0; i < count; ++i) {
                const float u = 0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
                output[i] = x[i] / (1.0f + exponential(-2.0f * u));
            }
            return;
        case Activation::kGelu:
#pragma omp simd
            for (int i = 0; i < count; ++i) output[i] = 0.5f * x[i] * (1.0f + error_function(x[i] * 0.7071067812f));
            return;
        case Activation::kRelu:
#pragma omp simd
            for (int i = 0; i < count; ++i) output[i] = x[i] < 0.0f ? 0.0f : x[i];  // NaN stays NaN
            return;
    }
}

inline void add(const float* x, int count, float* to) {
#pragma omp simd
    for (int i = 0; i < count; ++i) to[i] += x[i];
}

// The room for `count` numbers of which whole registers are computed: single ones at the end take as long as a register.
inline int in_whole_lanes(int count) {
    return (count + Lanes::kWidth - 1) / Lanes::kWidth * Lanes::kWidth;
}

// softmax(scale * scores), in place, of the first `seen` numbers; `scores` has room for whole registers.
inline void softmax(float* scores, int seen, float scale) {
    const int count = in_whole_lanes(seen);
    std::fill(scores + seen, scores + count, -std::numeric_limits<float>::infinity());
    float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
    for (int i = 0; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int i = 0; i < count; ++i) {
        const float power = exponential((scores[i] - largest) * scale);
        scores[i] = i < seen ? power : 0.0f;
        total += scores[i];
    }
    const float share = 1.0f / total;
#pragma omp simd
    for (int i = 0; i < count; ++i) scores[i] *= share;
}

// softmax(q K^T / sqrt(D)) V of one head over the filled positions. `scores` has room for `width` numbers, in
// whole registers.
inline void attend(const float* query, const float* keys, const float* values, const uint8_t* is_filled, int width,
                   int D, float* scores, float* output) {
    constexpr float kNothing = -std::numeric_limits<float>::infinity();
    const float scale = 1.0f / std::sqrt(static_cast<float>(D));
    float largest = kNothing;
    for (int t = 0; t < width; ++t) {
        const float* key = keys + static_cast<int64_t>(t) * D;
        float score = 0.0f;
#pragma omp simd reduction(+ : score)
        for (int d = 0; d < D; ++d) score += query[d] * key[d];
        scores[t] = score * scale;
        if (is_filled[t] && !(scores[t] <= largest)) largest = scores[t];
    }
    const int whole = in_whole_lanes(width);
    for (int t = 0; t < width; ++t) {
        if (!is_filled[t]) scores[t] = kNothing;
    }
    std::fill(scores + width, scores + whole, kNothing);
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int t = 0; t < whole; ++t) {
        const float weight = exponential(scores[t] - largest);
        scores[t] = scores[t] == kNothing ? 0.0f : weight;
        total += scores[t];
    }
    for (int d = 0; d < D; ++d) output[d] = 0.0f;
    for (int t = 0; t < width; ++t) {
        if (!is_filled[t]) continue;
        const float* value = values + static_cast<int64_t>(t) * D;
        const float share = scores[t] / total;
#pragma omp simd
        for (int d = 0; d < D; ++d) output[d] += share * value[d];
    }
}

}  // namespace adavae
