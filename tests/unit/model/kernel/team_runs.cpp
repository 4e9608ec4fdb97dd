// Runs of a team that seldom happen, one by its name; says what was wrong, and then ends with 1 (test_team.py).
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>

#include "outcome.h"
#include "team.h"

namespace {

using adavae::Kind;
using adavae::Outcome;
using adavae::Phase;
using adavae::Team;
using Counts = std::vector<std::atomic<int>>;

constexpr std::chrono::milliseconds kLongEnough{100};  // within which a caller that does not wait has gone on

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

std::string message_of(Team& team, const std::vector<Phase>& phases, int num_threads) {
    try {
        team.run(phases, num_threads, nullptr);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "no exception";
}

void expect_clean_run(Team& team) {
    Counts counts(40);
    team.run({counting(counts), counting(counts)}, 2, nullptr);
    expect_each(counts, 2, "the next run");
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

// Chunks are shared out among as many lanes as there are threads, of which some may be empty.
void run_every_number_of_threads_and_chunks() {
    for (int num_threads = 1; num_threads <= 20; ++num_threads) {
        for (int num_chunks = 0; num_chunks <= 40; ++num_chunks) {
            Counts counts(num_chunks);
            Team::shared().run({counting(counts), counting(counts)}, num_threads, nullptr);
            expect_each(counts, 2, std::to_string(num_threads) + " threads, " + std::to_string(num_chunks) + " chunks");
        }
    }
}

// Of two chunks that wait for each other, the caller computes the first in every phase: what it reads stays in its cache.
void keep_to_the_lanes() {
    const auto caller = std::this_thread::get_id();
    std::atomic<int> num_begun{0}, num_by_caller{0};
    std::vector<Phase> phases;
    for (int phase = 0; phase < 500; ++phase) {
        phases.push_back({Kind::kNorm, 2, [&, phase](int chunk) {
            if (chunk == 0 && std::this_thread::get_id() == caller) ++num_by_caller;
            ++num_begun;
            while (num_begun < 2 * (phase + 1)) sched_yield();
        }});
    }
    Team::shared().run(phases, 2, nullptr);
    expect(num_by_caller == 500, "the caller had " + std::to_string(num_by_caller) + " of 500 first chunks");
}

// Two chunks, one by each thread; one throws, and the other still computes then.
void fail_beside_another(bool is_by_caller) {
    const auto caller = std::this_thread::get_id();
    std::atomic<int> num_begun{0}, num_ended{0}, num_later{0};
    const auto one_of_two = [&](int) {
        ++num_begun;
        while (num_begun < 2) sched_yield();
        if ((std::this_thread::get_id() == caller) == is_by_caller) throw std::runtime_error("one of two");
        const auto until = std::chrono::steady_clock::now() + kLongEnough;
        while (std::chrono::steady_clock::now() < until) sched_yield();
        ++num_ended;
    };
    const Phase later{Kind::kNorm, 100, [&](int) { ++num_later; }};
    const std::string message = message_of(Team::shared(), {{Kind::kNorm, 2, one_of_two}, later}, 2);
    expect(num_ended == 1, "the caller went on while the other thread computed");
    expect(message == "one of two", message);
    expect(num_later == 0, "chunks were computed after a failure");
    expect_clean_run(Team::shared());
}

void fail_on_both() {
    std::atomic<int> num_begun{0};
    const auto fail = [&](int) {
        ++num_begun;
        while (num_begun < 2) sched_yield();
        throw std::runtime_error("both");
    };
    expect(message_of(Team::shared(), {{Kind::kNorm, 2, fail}}, 2) == "both", "another exception");
    expect_clean_run(Team::shared());
}

void fail_alone() {
    const auto fail = [](int) { throw std::runtime_error("alone"); };
    expect(message_of(Team::shared(), {{Kind::kNorm, 2, fail}}, 1) == "alone", "another exception");
    expect_clean_run(Team::shared());
}

// Every other run fails, at some chunk; those between are whole.
void fail_often() {
    Team& team = Team::shared();
    for (int run = 0; run < 2000; ++run) {
        Counts counts(24);
        const int failing = run % 2 == 0 ? run / 2 % 24 : -1;
        const Phase phase{Kind::kNorm, 24, [&](int chunk) {
            if (chunk == failing) throw std::runtime_error(std::to_string(run));
            ++counts[chunk];
        }};
        const std::string message = message_of(team, {phase, counting(counts)}, 4);
        expect(message == (run % 2 == 0 ? std::to_string(run) : "no exception"), "thrown was: " + message);
        if (run % 2 != 0) expect_each(counts, 2, "run " + std::to_string(run));
    }
}

void cross_the_boundary() {
    expect(adavae::outcome_of([] {}) == Outcome::kDone, "nothing thrown");
    expect(adavae::outcome_of([] { throw std::bad_alloc(); }) == Outcome::kNoMemory, "no memory");
    expect(adavae::outcome_of([] { throw std::runtime_error("other"); }) == Outcome::kFailed, "another exception");
    expect(adavae::outcome_of([] { throw 7; }) == Outcome::kFailed, "no exception at all");
}

const std::map<std::string, void (*)()> kRuns{
    {"beyond_the_last_number", run_beyond_the_last_number},
    {"more_chunks_than_a_word_counts", run_more_chunks_than_a_word_counts},
    {"every_number_of_threads_and_chunks", run_every_number_of_threads_and_chunks},
    {"keeping_to_the_lanes", keep_to_the_lanes},
    {"failure_on_the_caller", [] { fail_beside_another(true); }},
    {"failure_on_a_helper", [] { fail_beside_another(false); }},
    {"failure_on_both", fail_on_both},
    {"failure_alone", fail_alone},
    {"failures_often", fail_often},
    {"any_exception_at_the_boundary", cross_the_boundary},
};

}  // namespace

int main(int, char** arguments) {
    kRuns.at(arguments[1])();
    std::_Exit(0);  // helpers sleep for ever
}
