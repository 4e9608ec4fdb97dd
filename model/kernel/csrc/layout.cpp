// The layout of the callers' structures, by which a library built from other headers is recognised and not used.
#include "backbone.h"
#include "decode_step.h"
#include "encode.h"
#include "latent.h"

#include <cstdint>

namespace adavae {
namespace {

template <typename... Structures>
constexpr int64_t layout() {
    int64_t number = 0;
    ((number = 1000 * number + static_cast<int64_t>(sizeof(Structures))), ...);
    return number;
}

}  // namespace
}  // namespace adavae

extern "C" __attribute__((visibility("default"))) int64_t adavae_layout() {
    return adavae::layout<adavae::Backbone, adavae::AdapterSet, adavae::LatentSet, adavae::Step, adavae::Texts,
                          adavae::Posteriors>();
}
