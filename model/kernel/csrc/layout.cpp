// The layout of the callers' structures, by which a library built from other headers is recognised and not used.
#include "backbone.h"
#include "cross_entropy.h"
#include "decode_step.h"
#include "encode.h"
#include "flow.h"
#include "gelu.h"
#include "latent.h"
#include "linear.h"

#include <cstdint>

namespace adavae {
namespace {

template <typename... Structures>
constexpr uint64_t layout() {
    uint64_t number = 0;
    ((number = 1009 * number + sizeof(Structures)), ...);
    return number;
}

}  // namespace
}  // namespace adavae

extern "C" __attribute__((visibility("default"))) uint64_t adavae_layout() {
    return adavae::layout<adavae::Backbone, adavae::AdapterSet, adavae::LatentSet, adavae::Step, adavae::Texts,
                          adavae::Posteriors, adavae::LatentMemory, adavae::Flow, adavae::FlowBlock, adavae::FlowPath,
                          adavae::Linear, adavae::Gelu, adavae::CrossEntropy>();
}
