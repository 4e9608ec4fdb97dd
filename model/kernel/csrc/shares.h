// Rows that a thread takes through a whole program alone.
//
// Threads that work on the same rows, panel by panel, read what the others have written: those lines travel from one
// core's cache to another's, and every phase ends with waiting. Where there are rows enough for every thread, each takes
// its own, reads all weights, and shares nothing. A row's result is the same either way, bit for bit.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "team.h"

namespace adavae {

// The items of each share, for at most `num_shares` of them, none empty: the largest first, each to the share that has least
// so far.
// One share of all items, in order, if shares could not be about as large.
inline std::vector<std::vector<int>> even_shares(const std::vector<int>& sizes, int num_shares) {
    constexpr float kMostOverMean = 1.25f;  // beyond, the others would wait longer than working together costs
    std::vector<int> items(sizes.size());
    std::iota(items.begin(), items.end(), 0);
    std::vector<std::vector<int>> shares(num_shares);
    std::vector<int> totals(num_shares, 0);
    std::vector<int> by_size = items;
    std::stable_sort(by_size.begin(), by_size.end(), [&](int a, int b) { return sizes[a] > sizes[b]; });
    for (const int item : by_size) {
        const auto least = std::min_element(totals.begin(), totals.end()) - totals.begin();
        shares[least].push_back(item);
        totals[least] += sizes[item];
    }
    const int largest = *std::max_element(totals.begin(), totals.end());
    const int all = std::accumulate(totals.begin(), totals.end(), 0);
    if (largest * num_shares > kMostOverMean * all) return {items};
    std::erase_if(shares, [](const std::vector<int>& share) { return share.empty(); });  // fewer items than shares
    for (std::vector<int>& share : shares) std::sort(share.begin(), share.end());
    return shares;
}

// Runs every program by a thread of its own, or a single one by all threads. Adds the seconds of the first to `seconds`.
template <typename Program>
void run_shares(const std::vector<std::unique_ptr<Program>>& programs, int num_threads, double* seconds) {
    if (programs.size() == 1) return programs.front()->run(num_threads, seconds);
    const int count = static_cast<int>(programs.size());
    Team::shared().run(
        {{Kind::kProduct, count, [&](int number) { programs[number]->run(1, number == 0 ? seconds : nullptr); }}},
        num_threads, nullptr);
}

}  // namespace adavae
