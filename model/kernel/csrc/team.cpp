#include "team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace adavae {

namespace {

constexpr int kSpins = 2000;  // some 50 microseconds; then the thread yields
constexpr uint64_t kCountBits = 20, kCountMask = (1u << kCountBits) - 1;
constexpr uint64_t kMostRuns = (1u << 24) - 1;
constexpr int kRunsToWait = 256;  // asking in vain takes some 5 microseconds

uint64_t word(uint64_t run, uint64_t end, uint64_t count) {
    return (run << (2 * kCountBits)) | (end << kCountBits) | count;
}
uint64_t run_of(uint64_t word) {
    return word >> (2 * kCountBits);
}
uint64_t end_of(uint64_t word) {
    return (word >> kCountBits) & kCountMask;
}
uint64_t count_of(uint64_t word) {
    return word & kCountMask;
}

// A short wait that takes nothing from other threads. ARM's YIELD does nothing on most processors, ISB waits some 40
// cycles.
inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    __asm__ volatile("isb");
#endif
}

// Adds the time between two calls of `take` to the kind it is given.
class Clock {
  public:
    explicit Clock(double* seconds) : seconds_(seconds) {}

    void take(Kind kind) {
        if (seconds_ == nullptr) return;
        const auto now = std::chrono::steady_clock::now();
        seconds_[static_cast<int>(kind)] += std::chrono::duration<double>(now - since_).count();
        since_ = now;
    }

  private:
    double* seconds_;
    std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

void run_alone(const std::vector<Phase>& phases, double* seconds) {
    Clock clock(seconds);
    for (const Phase& phase : phases) {
        for (int chunk = 0; chunk < phase.num_chunks; ++chunk) phase.run(chunk);
        clock.take(phase.kind);
    }
}

}  // namespace

Team& Team::shared() {
    static Team* team = new Team;
    return *team;
}

void Team::run(const std::vector<Phase>& phases, int num_threads, double* seconds) {
    std::unique_lock<std::mutex> lock(in_use_, std::defer_lock);
    if (num_threads < 2 || !can_count(phases) || !lock.try_lock()) return run_alone(phases, seconds);
    engage_helpers(num_threads - 1);
    const uint64_t run = run_.load(std::memory_order_relaxed) % kMostRuns + 1;
    const int lanes = std::min(num_threads, kMaxLanes);
    phases_ = &phases;
    num_lanes_.store(lanes, std::memory_order_relaxed);
    for (size_t number = 0; number < phases.size(); ++number) {
        const uint64_t chunks = static_cast<uint64_t>(phases[number].num_chunks);
        progress_[number].finished.store(word(run, chunks, 0), std::memory_order_relaxed);
        for (int lane = 0; lane < lanes; ++lane) {
            const uint64_t begin = chunks * lane / lanes, end = chunks * (lane + 1) / lanes;
            progress_[number].claimed[lane].store(word(run, end, begin), std::memory_order_release);
        }
    }
    for (std::atomic<uint64_t>& lane : progress_[phases.size()].claimed)
        lane.store(word(0, 0, 0), std::memory_order_release);  // of no run: the end
    run_.store(run, std::memory_order_release);
    num_invited_.store(num_threads - 1, std::memory_order_release);
    call_.fetch_add(1, std::memory_order_release);
    call_.notify_all();
    work(0, run, seconds);
    if (has_failed_.load(std::memory_order_relaxed)) throw_failure();
}

// Whether the words of `Progress` have room for their numbers.
bool Team::can_count(const std::vector<Phase>& phases) {
    const auto has_room = [](const Phase& phase) { return static_cast<uint64_t>(phase.num_chunks) <= kCountMask; };
    return phases.size() <= kMaxPhases && std::all_of(phases.begin(), phases.end(), has_room);
}

// Where the system refuses a thread, those that are there work, and some runs later it is asked again: limits of processes
// and memory are shared with others, which end.
void Team::engage_helpers(int num_helpers) {
    if (num_runs_to_wait_ > 0) {
        --num_runs_to_wait_;
        return;
    }
    try {
        for (; num_helpers_ < std::min(num_helpers, kMaxHelpers); ++num_helpers_)
            std::thread(&Team::help, this, num_helpers_).detach();
    } catch (const std::exception&) {  // std::system_error or std::bad_alloc
        num_runs_to_wait_ = kRunsToWait;
    }
}

void Team::help(int number) {
    uint32_t seen = 0;
    for (;;) {
        call_.wait(seen, std::memory_order_acquire);
        seen = call_.load(std::memory_order_acquire);
        if (number < num_invited_.load(std::memory_order_acquire))
            work(number + 1, run_.load(std::memory_order_acquire), nullptr);
    }
}

void Team::work(int thread, uint64_t run, double* seconds) {
    const int num_lanes = num_lanes_.load(std::memory_order_relaxed);  // of a later run: then there is nothing to claim
    Clock clock(seconds);
    for (int number = 0;; ++number) {
        Progress& progress = progress_[number];
        int chunk = 0;
        Claim claimed;
        while ((claimed = claim(progress, run, thread % num_lanes, num_lanes, &chunk)) == Claim::kChunk) {
            compute((*phases_)[number], chunk);
            progress.finished.fetch_add(1, std::memory_order_acq_rel);
        }
        if (claimed == Claim::kOver) return;
        wait_for(progress, run);
        if (seconds != nullptr) clock.take((*phases_)[number].kind);
    }
}

// A chunk after a failure is left out, and counts as finished: nobody waits for it.
void Team::compute(const Phase& phase, int chunk) noexcept {
    if (has_failed_.load(std::memory_order_relaxed)) return;
    try {
        phase.run(chunk);
    } catch (...) {
        if (!has_failed_.exchange(true, std::memory_order_relaxed)) failure_ = std::current_exception();
    }
}

// Every chunk counts as finished by now, so `failure_` is there, and the next run starts without it.
void Team::throw_failure() {
    has_failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
}

Team::Claim Team::claim(Progress& progress, uint64_t run, int first_lane, int num_lanes, int* chunk) {
    Claim claimed = Claim::kExhausted;
    for (int number = 0; number < num_lanes && claimed == Claim::kExhausted; ++number)
        claimed = claim_of(progress.claimed[(first_lane + number) % num_lanes], run, chunk);
    return claimed;
}

Team::Claim Team::claim_of(std::atomic<uint64_t>& lane, uint64_t run, int* chunk) {
    uint64_t claimed = lane.load(std::memory_order_acquire);
    for (;;) {
        if (run_of(claimed) != run) return Claim::kOver;
        if (count_of(claimed) == end_of(claimed)) return Claim::kExhausted;
        if (lane.compare_exchange_weak(claimed, claimed + 1, std::memory_order_acq_rel)) {
            *chunk = static_cast<int>(count_of(claimed));
            return Claim::kChunk;
        }
    }
}

void Team::wait_for(const Progress& progress, uint64_t run) {
    for (int spins = 0;; ++spins) {
        const uint64_t finished = progress.finished.load(std::memory_order_acquire);
        if (run_of(finished) != run || count_of(finished) == end_of(finished)) return;
        if (spins < kSpins) {
            relax();
        } else {
            sched_yield();
        }
    }
}

}  // namespace adavae
