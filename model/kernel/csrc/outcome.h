// What a function of the library returns.
#pragma once

#include <cstdint>
#include <new>

namespace adavae {

// As `Outcome` in library.py.
enum class Outcome : int32_t { kDone = 0, kTokenOutOfRange = 1, kTooLong = 2, kNoMemory = 3, kFailed = 4 };

// Runs the computation; no exception crosses the boundary to Python.
template <typename Compute>
Outcome outcome_of(Compute compute) {
    try {
        compute();
    } catch (const std::bad_alloc&) {
        return Outcome::kNoMemory;
    } catch (...) {
        return Outcome::kFailed;
    }
    return Outcome::kDone;
}

}  // namespace adavae
