// Runs of a team that seldom happen, one by its name; says what was wrong, and then ends with 1 (test_team.py).
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "team.h"

namespace {

using adavae::Kind;
using adavae::Phase;
using adavae::Team;
using Counts = std::vector<std::atomic<int>>;

void expect(bool is_so, const std::string& what) {
    if (is_so) return;
    std::fprintf(stderr, "%s\n", what.c_str());
    std::_Exit(1);
}

Phase counting(Counts& counts) {
    return {Kind::kNorm, static_cast<int>(counts.size()), [&counts](int chunk) { ++counts[chunk]; }};
}

void expect_each(const Counts& counts, int times, const std::string& where) {
    for (const std::atomic<int>& count : counts)
        expect(count == times, where + ": a chunk was computed " + std::to_string(count) + " times");
}

// Numbers start again, with every number of phases.
void run_beyond_the_last_number() {
    for (const size_t num_phases : {1, 86, 8192}) {
        Team& team = *new Team((1u << 24) - 4);
        Counts counts(4);
        const std::vector<Phase> phases(num_phases, counting(counts));
        for (int run = 1; run <= 8; ++run) {
            team.run(phases, 2, nullptr);
            expect_each(counts, run * static_cast<int>(num_phases), "run " + std::to_string(run));
        }
    }
}

void run_more_chunks_than_a_word_counts() {
    for (const int num_chunks : {(1 << 20) - 1, 1 << 20}) {
        Counts counts(num_chunks);
        Team::shared().run({counting(counts)}, 2, nullptr);
        expect_each(counts, 1, std::to_string(num_chunks) + " chunks");
    }
}

const std::map<std::string, void (*)()> kRuns{
    {"beyond_the_last_number", run_beyond_the_last_number},
    {"more_chunks_than_a_word_counts", run_more_chunks_than_a_word_counts},
};

}  // namespace

int main(int, char** arguments) {
    kRuns.at(arguments[1])();
    std::_Exit(0);  // helpers sleep for ever
}
