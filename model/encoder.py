"""The encoder: the backbone's first blocks without the causal mask, then the final layer norm (paper Section 2.1)."""

import torch
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.kv_cache import MemoryStore
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex


def encode(
    backbone: Backbone, bank: AdapterBank, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex
) -> Posterior:
    """Token ids to q(z|x).

    Args:
        backbone: The frozen GPT-2.
        bank: The adapter sets.
        token_ids: Right-padded texts, (B, T), int64.
        attention_mask: True on real tokens, (B, T), bool; every row has at least one.
        index: Slot of each row.

    Returns:
        Posterior over (B, Z), float32.
    """
    hidden = encode_hidden(backbone, bank, token_ids, attention_mask, index)
    return bank.posterior_of(bank.aggregate(hidden, attention_mask, index), index)


def encode_hidden(
    backbone: Backbone, bank: AdapterBank, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex
) -> Tensor:
    """The encoder's output before it is pooled, (B, T, C), of any value on padding; arguments as for ``encode``."""
    sets = bank.packed_sets_of(index)
    if backbone.kernel is None or sets is None or torch.is_grad_enabled() or bank.has_encoder_prefix(index):
        return plain_encode_hidden(backbone, bank, token_ids, attention_mask, index)
    return backbone.kernel.encode_hidden(token_ids, attention_mask, sets)


def plain_encode_hidden(
    backbone: Backbone, bank: AdapterBank, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex
) -> Tensor:
    """The same through PyTorch: on any device, in any dtype, and what the compiled blocks are held against."""
    x = backbone.embed(token_ids, torch.arange(token_ids.shape[1], device=token_ids.device))
    memory = bank.encoder_memory(index)
    mask = attention_mask if memory is None else torch.cat([memory.mask, attention_mask], 1)
    mask = mask[:, None, None, :]  # (B, 1, 1, M + T)
    depths = bank.encoder_depths(index)
    for layer in range(max(depths)):
        store = None if memory is None else MemoryStore(memory.keys[layer], memory.values[layer])
        deeper = backbone.blocks[layer](x, mask, store, bank.encoder_layer(layer, index))
        if layer < min(depths):
            x = deeper
        else:  # rows whose set uses fewer blocks are done already
            goes_on = torch.tensor([layer < depth for depth in depths], device=x.device)
            x = torch.where(goes_on[:, None, None], deeper, x)
    hidden: Tensor = backbone.ln_f(x)
    return hidden
