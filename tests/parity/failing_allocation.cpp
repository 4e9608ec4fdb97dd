// Loaded before everything else, takes the place of `operator new`, and lets one allocation fail (test_kernel_memory.py).
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> num_left{0};  // allocations up to the one that fails, itself included

void count() {
    if (num_left.load() > 0 && num_left.fetch_sub(1) == 1) throw std::bad_alloc();
}

void* checked(void* place) {
    if (place == nullptr) throw std::bad_alloc();
    return place;
}

}  // namespace

void* operator new(std::size_t size) {
    count();
    return checked(std::malloc(std::max<std::size_t>(size, 1)));
}

void* operator new(std::size_t size, std::align_val_t alignment) {
    count();
    const auto line = static_cast<std::size_t>(alignment);
    return checked(std::aligned_alloc(line, (size + line - 1) / line * line));
}

// Asked for by those who manage without it: sorting.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return std::malloc(std::max<std::size_t>(size, 1));
}

// The allocation of this number fails, counted from now.
extern "C" void fail_allocation(int64_t number) {
    num_left = number;
}

// From now on none fails; whether one has.
extern "C" int32_t end_failures() {
    return num_left.exchange(0) <= 0;
}
