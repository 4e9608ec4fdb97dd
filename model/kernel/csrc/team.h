// Threads that work through one list of phases together.
//
// A phase is a number of chunks that may be done in any order; the next phase starts when all are done. Threads claim
// chunks one by one, so a thread that the system has suspended delays the others by at most one chunk, and a helper that
// never wakes up, or that could not be started, does not delay them: the caller alone would finish. Helpers sleep between
// runs and spin within one.
//
// The chunks of a phase lie in as many lanes as there are threads, and each thread begins with its own: so a weight is read
// by the same core in every run, and stays in that core's caches. A thread that is done with its own goes on with the others.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace adavae {

enum class Kind { kProduct = 0, kAttention = 1, kNorm = 2 };  // what a phase does, for measurements
constexpr int kNumKinds = 3;

struct Phase {
    Kind kind;
    int num_chunks;
    std::function<void(int)> run;
};

// A phase of whole rows: norms, sums.
inline Phase each_row(int num_rows, std::function<void(int)> run) {
    constexpr int kRows = 8;
    const int a_chunk = num_rows <= 64 ? 1 : kRows;
    return {Kind::kNorm, (num_rows + a_chunk - 1) / a_chunk, [num_rows, a_chunk, run = std::move(run)](int chunk) {
        for (int row = chunk * a_chunk; row < std::min(num_rows, (chunk + 1) * a_chunk); ++row) run(row);
    }};
}

class Team {
  public:
    // The process's one team. It is never destroyed: its threads sleep until the process ends.
    static Team& shared();

    // `last_run` is the number before that of the first run; 2^24 - 1 is followed by 1.
    explicit Team(uint64_t last_run = 0) : run_(last_run) {}

    // Works through `phases` with at most `num_threads` threads, including the caller. If the team is working for another
    // thread, the caller works alone. Adds each kind's seconds to `seconds` unless it is null. After an exception no more
    // chunks are begun; it is thrown again here, when no thread computes any more. Of several it is the first.
    void run(const std::vector<Phase>& phases, int num_threads, double* seconds);

  private:
    static constexpr int kMaxPhases = 8192;
    static constexpr int kMaxHelpers = 63;
    static constexpr int kMaxLanes = 15;  // threads beyond share them

    // Both words contain the number of their run, so a helper that is late finds nothing to do in a later one. No run has
    // the number 0: it stands where nothing is left to do.
    struct alignas(128) Progress {
        std::atomic<uint64_t> finished{0};           // run: 24 bits, chunks: 20, finished: 20
        std::atomic<uint64_t> claimed[kMaxLanes]{};  // of each lane; run: 24 bits, its end: 20, next chunk: 20
    };

    enum class Claim { kChunk, kExhausted, kOver };

    static bool can_count(const std::vector<Phase>& phases);
    void engage_helpers(int num_helpers);
    void help(int number);
    void work(int thread, uint64_t run, double* seconds);
    void compute(const Phase& phase, int chunk) noexcept;
    [[noreturn]] void throw_failure();
    static Claim claim(Progress& progress, uint64_t run, int first_lane, int num_lanes, int* chunk);
    static Claim claim_of(std::atomic<uint64_t>& lane, uint64_t run, int* chunk);
    static void wait_for(const Progress& progress, uint64_t run);

    std::mutex in_use_;
    std::atomic<uint32_t> call_{0};  // grows with every run; helpers sleep on it
    std::atomic<uint64_t> run_;      // the number of the newest, from 1 on
    std::atomic<int> num_invited_{0};
    std::atomic<int> num_lanes_{1};  // of the newest run
    int num_helpers_ = 0;
    int num_runs_to_wait_ = 0;                    // before another helper may be started
    const std::vector<Phase>* phases_ = nullptr;  // of the current run; read only by threads that hold a chunk
    std::atomic<bool> has_failed_{false};         // the current run
    std::exception_ptr failure_;                  // written by the thread that set `has_failed_`
    std::unique_ptr<Progress[]> progress_{new Progress[kMaxPhases + 1]};
};

}  // namespace adavae
