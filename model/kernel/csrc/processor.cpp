#include "processor.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#else
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace adavae {

#if defined(__aarch64__)

bool has(Int8Way way) {
    return way == Int8Way::kDot && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

#else

namespace {

// Bits of leaf 7 of CPUID, of register XCR0, and of the call that asks for the tiles' state (Intel SDM volume 1, chapters
// 13 and 18; Linux, Documentation/arch/x86/xstate.rst).
constexpr uint32_t kVnni = 1u << 11;                        // ecx
constexpr uint32_t kTileAndInt8 = (1u << 24) | (1u << 25);  // edx
constexpr uint64_t kTileStates = (1u << 17) | (1u << 18);
constexpr int kAskForState = 0x1023, kTileData = 18;

struct Features {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Features extended_features() {
    Features found;
    __get_cpuid_count(7, 0, &found.eax, &found.ebx, &found.ecx, &found.edx);
    return found;
}

[[maybe_unused]] bool has_tiles() {
    if ((extended_features().edx & kTileAndInt8) != kTileAndInt8) return false;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & kTileStates) == kTileStates && syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

}  // namespace

bool has(Int8Way way) {
    if (way == Int8Way::kWords) return true;  // every variant is compiled for AVX2 at least
#if defined(__AVX512F__)
    if (way == Int8Way::kDot) return (extended_features().ecx & kVnni) != 0;
#if defined(ADAVAE_AMX)
    if (way == Int8Way::kAmx) return has(Int8Way::kDot) && has_tiles();
#endif
#endif
    return false;
}

#endif

}  // namespace adavae

int32_t adavae_has_int8_way(adavae::Int8Way way) {
    return adavae::has(way);
}
