// Sums of bytes times int8 weights, exact in int32, by the instructions that this processor has.
//
// A panel is 32 adjacent outputs, (K / 4, 32, 4) in memory with K a multiple of 64: four weights of an output lie
// together, as VNNI's multiply-add takes them, and 16 such rows of 16 outputs are a tile of AMX. All ways give the same
// numbers: sums of whole numbers have no order, and 65536 products of at most 255 * 127 fit. (So bytes are not multiplied
// by AVX2's VPMADDUBSW, whose sums of two products end at 32767.)
#pragma once

#include <cstdint>
#include <type_traits>

#include "matrix.h"
#include "processor.h"

namespace adavae {

constexpr int kDepthStep = 64;  // K is padded to a multiple of it, with zero weights
constexpr int kMaxDotRows = 8;
constexpr int kMaxTileRows = 32;
// How far ahead a panel is fetched: as in matrix.h, and twice as far, since bytes are multiplied faster.
constexpr int kInt8PrefetchBytes = 4096;

inline int padded_depth(int in) {
    return (in + kDepthStep - 1) / kDepthStep * kDepthStep;
}

// Calls `run` with the number of rows as a constant, for 1 to MOST rows.
template <int MOST, typename Run>
inline void with_rows(int rows, Run run) {
    if (rows == MOST) return run(std::integral_constant<int, MOST>());
    if constexpr (MOST > 1) with_rows<MOST - 1>(rows, run);
}

// sums[row][n] = sum over k of x[row][k] * panel[n][k], for at most kMaxDotRows rows, by products of four bytes: VNNI
// (int8_vnni.cpp), on ARM UDOT (int8_udot.cpp).
void multiply_dot(int rows, const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                  int32_t (*sums)[kPanel]);

// As `multiply_dot`, by products of two words of 16 bits, which every processor with AVX2 has; `x_stride` in words.
void multiply_words(int rows, const int16_t* x, int64_t x_stride, const int8_t* panel, int depth,
                    int32_t (*sums)[kPanel]);

// The tiles of AMX, for as long as it lives where `is_used`: to set them up takes as long as multiplying some rows.
class Tiles {
  public:
    explicit Tiles(bool is_used) : is_used_(is_used) {
        if (is_used_) begin();
    }
    ~Tiles() {
        if (is_used_) end();
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

    // As `multiply_dot`, for at most kMaxTileRows rows; reads as many, or half as many if that is enough. The panel is
    // fetched ahead if `is_fetched`, which costs a third where it lies in a near cache.
    static void multiply(int rows, const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                         int32_t (*sums)[kPanel], bool is_fetched);

  private:
    static void begin();
    static void end();

    const bool is_used_;
};

}  // namespace adavae
