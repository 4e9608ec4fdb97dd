// Rows of float32 numbers as bytes, each row by its own scale and zero: x = scale * (byte - zero).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "int8_tiles.h"

namespace adavae {

// What a row's bytes mean.
struct ByteScale {
    float scale;
    int32_t zero;
};

// The lowest and the highest number of a row, or zero; `is_finite` unless one of the numbers is not.
struct Range {
    float lowest, highest;
    bool is_finite;
};

inline Range range_of(const float* x, int count) {
    constexpr int kWidth = Lanes::kWidth;
    Lanes lowest = Lanes::zero(), highest = Lanes::zero(), zeros = Lanes::zero();  // 0 * infinity and 0 * NaN are NaN
    const int whole = count / kWidth * kWidth;
    for (int i = 0; i < whole; i += kWidth) {
        const Lanes numbers = Lanes::load(x + i);
        lowest = lowest.smaller(numbers);
        highest = highest.larger(numbers);
        zeros = zeros.plus_product(numbers, Lanes::zero());
    }
    float low[kWidth], high[kWidth], zero[kWidth];
    lowest.store(low), highest.store(high), zeros.store(zero);
    Range range{0.0f, 0.0f, true};
    const auto take = [&range](float lowest, float highest, float zero) {
        range.lowest = std::min(range.lowest, lowest);
        range.highest = std::max(range.highest, highest);
        range.is_finite &= zero == 0.0f;
    };
    for (int i = 0; i < kWidth; ++i) take(low[i], high[i], zero[i]);
    for (int i = whole; i < count; ++i) take(x[i], x[i], x[i] * 0.0f);
    return range;
}

// The bytes of `count` numbers, of which zero stays zero. A row with a number that is not finite gets NaN for its scale,
// so that everything computed from it is NaN too.
template <typename Byte>
inline ByteScale to_bytes(const float* x, int count, Byte* bytes) {
    constexpr float kFlat = 1e-30f;  // below which 255 / width could overflow
    const Range range = range_of(x, count);
    const float width = range.highest - range.lowest;
    if (!range.is_finite || !(width <= std::numeric_limits<float>::max())) {
        std::fill(bytes, bytes + count, 0);
        return {std::numeric_limits<float>::quiet_NaN(), 0};
    }
    const float steps = width > kFlat ? 255.0f / width : 0.0f;
    const auto zero = static_cast<int32_t>(std::nearbyint(-range.lowest * steps));
    for (int i = 0; i < count; ++i) {
        const int32_t step = static_cast<int32_t>(std::nearbyint(x[i] * steps)) + zero;
        bytes[i] = static_cast<Byte>(step < 0 ? 0 : step > 255 ? 255 : step);
    }
    return {width / 255.0f, zero};
}

union alignas(64) CacheLine {
    uint8_t bytes[64];
    int16_t words[32];
};

// (rows, width) bytes, each in a word of 16 bits where they are multiplied so. Beyond a row's width, and beyond the last
// row, lies what may be read and multiplied with zero, or into sums that nobody looks at.
class Int8Rows {
  public:
    void resize(int rows, int width, Int8Way way) {
        has_words_ = way == Int8Way::kWords;
        lines_ = padded_depth(width) * (has_words_ ? sizeof(int16_t) : 1) / sizeof(CacheLine);
        lines_ += 1 - lines_ % 2;  // an odd number: rows then lie in different sets of the cache
        bytes_.reset(new CacheLine[static_cast<int64_t>(rows + kMaxTileRows) * lines_]);
        scales_.resize(rows);
    }
    void take(int row, const float* x, int width) {
        CacheLine& begin = bytes_[row * lines_];
        scales_[row] = has_words_ ? to_bytes(x, width, begin.words) : to_bytes(x, width, begin.bytes);
    }

    const uint8_t* row(int row) const { return bytes_[row * lines_].bytes; }
    const int16_t* words(int row) const { return bytes_[row * lines_].words; }
    ByteScale scale(int row) const { return scales_[row]; }
    int64_t stride() const { return lines_ * static_cast<int64_t>(sizeof(CacheLine)); }  // in bytes

  private:
    std::unique_ptr<CacheLine[]> bytes_;
    std::vector<ByteScale> scales_;
    int64_t lines_ = 0;
    bool has_words_ = false;
};

}  // namespace adavae
