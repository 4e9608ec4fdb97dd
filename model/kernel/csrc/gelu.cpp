#include "gelu.h"

#include <algorithm>

#include "bfloat16.h"
#include "lanes.h"
#include "team.h"

namespace adavae {
namespace {

constexpr int64_t kChunk = 16384;  // numbers; a few microseconds of work

// x s with s = 1 / (1 + e^(-2u)) and u = sqrt(2 / pi) (x + 0.044715 x^3); its slope is s + x s (1 - s) 2 u'.
// Beyond 12 either is what it tends to.
void gelu(const uint16_t* x, int64_t count, uint16_t* output, uint16_t* slope) {
    constexpr float kTwice = 1.5957691216f;  // 2 sqrt(2 / pi)
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
        const float number = widened(x[i]);
        const float near = number < -12.0f ? -12.0f : number > 12.0f ? 12.0f : number;  // NaN stays NaN
        const float square = near * near;
        const float exact = 1.0f / (1.0f + exponential(-kTwice * near * (1.0f + 0.044715f * square)));
        const float share = number < -12.0f ? 0.0f : exact;
        const float steepness = kTwice * (1.0f + 3.0f * 0.044715f * square);
        output[i] = rounded(number * share);
        slope[i] = rounded(share + near * share * (1.0f - share) * steepness);
    }
}

void compute(const Gelu& task) {
    const auto run = [&task](int chunk) {
        const int64_t start = chunk * kChunk, count = std::min(kChunk, task.count - start);
        gelu(task.x + start, count, task.output + start, task.slope + start);
    };
    const int num_chunks = static_cast<int>((task.count + kChunk - 1) / kChunk);
    Team::shared().run({Phase{Kind::kNorm, num_chunks, run}}, task.num_threads, nullptr);
}

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_gelu(const adavae::Gelu* task) {
    return adavae::outcome_of([&] { adavae::compute(*task); });
}
