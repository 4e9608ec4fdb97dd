"""GPT-2 without a latent: every weight trained, or adapters alone."""

import copy

from torch import Tensor, nn

from adavae.model.backbone import Backbone, causal_mask
from adavae.model.config import AdapterConfig, AdapterPlacement
from adavae.model.parts.bottleneck import LayerAdapters, RowAdapters
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.systems.sentence_model import UnconditionalModel


class GPT2LanguageModel(UnconditionalModel):
    """A backbone as a language model; with ``adapter`` only its adapters train, as the decoder of AdaVAE has them."""

    def __init__(self, backbone: Backbone, adapter: AdapterConfig | None) -> None:
        super().__init__()
        self.eos_token_id = backbone.config.eos_token_id
        self.backbone = copy.deepcopy(backbone).requires_grad_(adapter is None)
        self.scale = 1.0 if adapter is None else adapter.adapter_scale
        self.adapters = nn.ModuleList()
        if adapter is not None:
            placements: tuple[AdapterPlacement, ...] = (adapter.adapter_placement,)
            C, A = backbone.config.n_embd, adapter.adapter_size
            self.adapters.extend(LayerAdapters(1, C, A, placements) for _ in backbone.blocks)

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        del z  # there is none
        inputs, _, _ = batch.decoder_sides(self.eos_token_id)
        if not self.adapters:
            return self.backbone.hidden_states(inputs)
        T, index = inputs.shape[1], AdapterIndex.uniform(len(batch))
        x = self.backbone.embed(inputs, positions_of(inputs))
        mask = causal_mask(T, device=inputs.device)
        for block, layer in zip(self.backbone.blocks, self.adapters, strict=True):
            x = block(x, mask, None, RowAdapters(layer, index, self.scale))  # type: ignore[arg-type]
        hidden: Tensor = self.backbone.ln_f(x)
        return hidden

    @property
    def output(self) -> Tensor:
        return self.backbone.lm_head.weight


def positions_of(inputs: Tensor) -> Tensor:
    """0, 1, 2 ... of a batch of texts, (T,), int64."""
    return inputs.new_ones(inputs.shape[1]).cumsum(0) - 1
