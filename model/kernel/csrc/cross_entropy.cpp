#include "cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bfloat16.h"
#include "lanes.h"
#include "team.h"

namespace adavae {
namespace {

float largest_of(const uint16_t* logits, int64_t V) {
    float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < V; ++v) {
        const float logit = widened(logits[v]);
        largest = logit > largest ? logit : largest;
    }
    return largest;
}

void row(const CrossEntropy& task, int number) {
    const int64_t V = task.vocab_size, target = task.targets[number];
    uint16_t* logits = task.logits + number * V;
    const float largest = largest_of(logits, V), of_target = widened(logits[target]);
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int64_t v = 0; v < V; ++v) total += exponential(widened(logits[v]) - largest);
    task.nll[number] = std::log(total) + largest - of_target;
    if (task.weights == nullptr) return;
    const float weight = task.weights[number], share = weight / total;
#pragma omp simd
    for (int64_t v = 0; v < V; ++v) logits[v] = rounded(exponential(widened(logits[v]) - largest) * share);
    logits[target] = rounded(exponential(of_target - largest) * share - weight);
}

void compute(const CrossEntropy& task) {
    Team::shared().run({Phase{Kind::kProduct, task.num_rows, [&task](int number) { row(task, number); }}},
                       task.num_threads, nullptr);
}

}  // namespace
}  // namespace adavae

adavae::Outcome adavae_cross_entropy(const adavae::CrossEntropy* task) {
    const auto is_outside = [V = task->vocab_size](int64_t target) { return target < 0 || target >= V; };
    if (std::any_of(task->targets, task->targets + task->num_rows, is_outside))
        return adavae::Outcome::kTokenOutOfRange;
    return adavae::outcome_of([&] { adavae::compute(*task); });
}
