"""The encoder over packed texts: without padding, and with texts of all adapter sets in one product.

Sets whose encoder has a prefix or is causal are not supported here; ``AdaVAE.encode`` handles them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.gpu.blocks import BlockAdapters, block_deltas
from adavae.model.gpu.kernels import Kernels
from adavae.model.gpu.layout import PackedTexts, on_device
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex


def can_be_packed(bank: AdapterBank, slots: Sequence[int]) -> bool:
    """Whether texts of these sets may be packed."""
    index = AdapterIndex.of(slots)
    return not (bank.has_encoder_prefix(index) or any(bank.has_causal_encoder(index)))


def encode_packed(vae: AdaVAE, kernels: Kernels, rows: Sequence[Sequence[int]], slots: Sequence[int]) -> Posterior:
    """From token ids to q(z|x), as ``AdaVAE.encode``.

    Args:
        vae: The model; ``can_be_packed`` holds for ``slots``.
        kernels: The operations to compute with.
        rows: Token ids of each text, none empty.
        slots: Adapter set of each text.

    Returns:
        Posterior over (B, Z), float32, in the order of ``rows``.
    """
    device, depths = vae.backbone.wte.weight.device, [vae.bank.config_of(slot).encoder_layers for slot in slots]
    order = sorted(range(len(rows)), key=lambda row: (-depths[row], slots[row]))
    texts = PackedTexts.of([rows[row] for row in order], [slots[row] for row in order], device)
    hidden = encode_hidden_packed(vae, kernels, texts, [depths[row] for row in order])
    index = AdapterIndex.of(texts.slots, device)
    v_z = vae.bank.aggregate(texts.padded(hidden), texts.attention_mask, index)
    posterior = vae.bank.posterior_of(v_z, index)
    place_of = {row: place for place, row in enumerate(order)}
    back = on_device([place_of[row] for row in range(len(rows))], torch.int64, device)
    return Posterior(posterior.mu[back], posterior.logvar[back])


def encode_hidden_packed(vae: AdaVAE, kernels: Kernels, texts: PackedTexts, depths: Sequence[int]) -> Tensor:
    """The encoder's output, (N, C).

    Args:
        vae: The model.
        kernels: The operations to compute with.
        texts: Sorted so that texts with more blocks come first.
        depths: Number of blocks for each text.
    """
    backbone, bank = vae.encoder_backbone, vae.bank
    activation, n_head = backbone.config.activation, backbone.config.n_head
    x: Tensor = backbone.embed(texts.token_ids, texts.positions)
    delta: Tensor | None = None
    finished: list[Tensor] = []
    for layer in range(max(depths)):
        going_on = texts.first(sum(depth > layer for depth in depths))
        if len(going_on) < len(texts):  # texts whose set uses fewer blocks are done
            N = len(going_on.token_ids)
            finished.insert(0, kernels.add_norm(x[N:], None if delta is None else delta[N:], backbone.ln_f)[1])
            x, delta, texts = x[:N], None if delta is None else delta[:N], going_on
        adapters = BlockAdapters(bank.encoder_adapters[layer], texts.tiles, bank.shape.adapter_scale)  # type: ignore[arg-type]

        def attend(qkv: Tensor, texts: PackedTexts = texts) -> Tensor:
            return kernels.packed_attention(qkv, texts, n_head)

        x, delta = block_deltas(kernels, backbone.blocks[layer], activation, adapters, attend, x, delta)  # type: ignore[arg-type]
    last: Tensor = kernels.add_norm(x, delta, backbone.ln_f)[1]
    return torch.cat([last, *finished]) if finished else last
