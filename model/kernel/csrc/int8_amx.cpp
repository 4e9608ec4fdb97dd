#include "int8_tiles.h"

#if defined(ADAVAE_AMX) && defined(__AVX512F__)

#include <immintrin.h>

#define ADAVAE_TILES [[gnu::target("amx-tile,amx-int8")]]

namespace adavae {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;
constexpr int kNumTiles = 8;  // 0 to 3: sums, 2 by 2; 4 and 5: rows; 6 and 7: weights
constexpr int kPanelStride = 4 * kPanel;
constexpr int kStepBytes = kDepthStep * kPanel;

// A step's part of a panel two steps ahead; the tiles' loads alone wait for memory.
inline void fetch_ahead(const int8_t* panel) {
    for (int line = 0; line < kStepBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(panel) + 2 * kStepBytes + line, _MM_HINT_T0);
}

// As `ldtilecfg` reads it (Intel SDM volume 1, chapter 18): every tile has 16 rows of 64 bytes.
struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};

    TileShapes() {
        for (int tile = 0; tile < kNumTiles; ++tile) {
            row_bytes[tile] = kTileBytes;
            rows[tile] = kTileRows;
        }
    }
};

// Depth steps of at most 32 rows with a panel whose weights are fetched ahead if they may lie in memory.
template <bool IS_FETCHED>
ADAVAE_TILES void multiply_16(const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                              int32_t (*sums)[kPanel]) {
    _tile_zero(0);
    _tile_zero(1);
    for (int k = 0; k < depth; k += kDepthStep, panel += kStepBytes) {
        if constexpr (IS_FETCHED) fetch_ahead(panel);
        _tile_loadd(6, panel, kPanelStride);
        _tile_loadd(4, x + k, x_stride);
        _tile_loadd(7, panel + kTileBytes, kPanelStride);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
    }
    _tile_stored(0, sums[0], sizeof sums[0]);
    _tile_stored(1, sums[0] + kTileRows, sizeof sums[0]);
}

template <bool IS_FETCHED>
ADAVAE_TILES void multiply_32(const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                              int32_t (*sums)[kPanel]) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int k = 0; k < depth; k += kDepthStep, panel += kStepBytes) {
        if constexpr (IS_FETCHED) fetch_ahead(panel);
        _tile_loadd(6, panel, kPanelStride);
        _tile_loadd(4, x + k, x_stride);
        _tile_loadd(7, panel + kTileBytes, kPanelStride);
        _tile_loadd(5, x + kTileRows * x_stride + k, x_stride);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums[0], sizeof sums[0]);
    _tile_stored(1, sums[0] + kTileRows, sizeof sums[0]);
    _tile_stored(2, sums[kTileRows], sizeof sums[0]);
    _tile_stored(3, sums[kTileRows] + kTileRows, sizeof sums[0]);
}

}  // namespace

ADAVAE_TILES void Tiles::begin() {
    static const TileShapes shapes;
    _tile_loadconfig(&shapes);
}

ADAVAE_TILES void Tiles::end() {
    _tile_release();
}

ADAVAE_TILES void Tiles::multiply(int rows, const uint8_t* x, int64_t x_stride, const int8_t* panel, int depth,
                                  int32_t (*sums)[kPanel], bool is_fetched) {
    const auto way = rows <= kTileRows ? (is_fetched ? multiply_16<true> : multiply_16<false>)
                                       : (is_fetched ? multiply_32<true> : multiply_32<false>);
    way(x, x_stride, panel, depth, sums);
}

}  // namespace adavae

#else

namespace adavae {

void Tiles::begin() {}
void Tiles::end() {}
void Tiles::multiply(int, const uint8_t*, int64_t, const int8_t*, int, int32_t (*)[kPanel], bool) {}

}  // namespace adavae

#endif
