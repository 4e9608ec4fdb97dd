// Rows of a batch sorted by adapter set.
#pragma once

#include <algorithm>
#include <vector>

namespace adavae {

// Rows of one set, at adjacent places.
template <typename Set>
struct GroupOf {
    const Set* set;
    int first, last;

    int count() const { return last - first; }
};

// The row at each place, once rows are sorted by set.
template <typename Set>
std::vector<int> sorted_rows(const Set* const* sets, int num_rows) {
    std::vector<int> order;
    for (int row = 0; row < num_rows; ++row) order.push_back(row);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return sets[a] < sets[b]; });
    return order;
}

template <typename Set>
std::vector<GroupOf<Set>> groups_of(const Set* const* sets, const std::vector<int>& order) {
    std::vector<GroupOf<Set>> groups;
    for (int place = 0; place < static_cast<int>(order.size()); ++place) {
        const Set* set = sets[order[place]];
        if (groups.empty() || set != groups.back().set) groups.push_back({set, place, place});
        groups.back().last = place + 1;
    }
    return groups;
}

}  // namespace adavae
