"""The decoder: all blocks, causal, with z (and the prefix) in front of every layer's keys and values.

``hidden_states`` takes a whole text at once, for training and measuring; ``prefill`` and ``decode_step`` write one.
"""

import torch
from torch import Tensor

from adavae.model.backbone import Backbone, causal_mask
from adavae.model.kv_cache import KVCache, MemoryStore
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.stacked import AdapterIndex


def hidden_states(backbone: Backbone, bank: AdapterBank, token_ids: Tensor, z: Tensor, index: AdapterIndex) -> Tensor:
    """Teacher-forced final hidden states.

    Args:
        backbone: The frozen GPT-2.
        bank: The adapter sets.
        token_ids: What the decoder reads: end-of-text, then the text, right-padded, (B, T), int64.
        z: (B, Z).
        index: Slot of each row.

    Returns:
        (B, T, C), ready for the output embedding; a position never sees a later one, so padding needs no mask.
    """
    B, T = token_ids.shape
    memory = bank.decoder_memory(z, index)
    M = memory.num_positions
    mask = causal_mask(T, M, device=token_ids.device)  # (T, M + T)
    if not bool(memory.mask.all()):
        mask = mask.expand(B, 1, T, M + T).clone()
        mask[..., :M] = memory.mask[:, None, None, :]
    x = backbone.embed(token_ids, torch.arange(T, device=token_ids.device))
    for layer, block in enumerate(backbone.blocks):
        store = MemoryStore(memory.keys[layer], memory.values[layer])
        x = block(x, mask, store, bank.decoder_layer(layer, index))
    hidden: Tensor = backbone.ln_f(x)
    return hidden


def prefill(
    backbone: Backbone, bank: AdapterBank, z: Tensor, index: AdapterIndex, max_tokens: int
) -> tuple[Tensor, KVCache]:
    """Starts decoding: z into the cache, end-of-text as the first token.

    Args:
        backbone: The frozen GPT-2.
        bank: The adapter sets.
        z: (B, Z).
        index: Slot of each row.
        max_tokens: How many tokens may be decoded at most.

    Returns:
        Logits of the first token, (B, V), and the cache to go on with.
    """
    kv_cache = KVCache.starting_with(bank.decoder_memory(z, index), max_tokens)
    first = torch.full((z.shape[0],), backbone.config.eos_token_id, dtype=torch.int64, device=z.device)
    return decode_step(backbone, bank, first, kv_cache, index), kv_cache


def decode_step(
    backbone: Backbone, bank: AdapterBank, token_ids: Tensor, kv_cache: KVCache, index: AdapterIndex
) -> Tensor:
    """One token more for every row; ``kv_cache`` grows in place.

    Args:
        backbone: The frozen GPT-2.
        bank: The adapter sets.
        token_ids: Each row's newest token, (B,), int64.
        kv_cache: What ``prefill`` returned, or rows selected from it.
        index: Slot of each row.

    Returns:
        Logits of the next token, (B, V).
    """
    sets = bank.packed_sets_of(index)
    if backbone.kernel is None or sets is None or torch.is_grad_enabled():
        return plain_decode_step(backbone, bank, token_ids, kv_cache, index)
    return backbone.kernel.decode_step(token_ids, kv_cache, sets)


def plain_decode_step(
    backbone: Backbone, bank: AdapterBank, token_ids: Tensor, kv_cache: KVCache, index: AdapterIndex
) -> Tensor:
    """The same through PyTorch: on any device, in any dtype, and what the compiled step is held against."""
    step = kv_cache.begin_step()
    mask = step.mask
    x = backbone.embed(token_ids.unsqueeze(1), step.positions)  # (B, 1, C)
    for layer, block in enumerate(backbone.blocks):
        x = block(x, mask, step.layer(layer), bank.decoder_layer(layer, index))
    return backbone.logits(backbone.ln_f(x)).squeeze(1)
