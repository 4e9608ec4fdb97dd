"""START READING HERE: AdaVAE, one frozen GPT-2 as encoder and decoder, and a bank of adapter sets over it.

The whole forward pass, on token ids and latent vectors. ``text_model`` goes from text to text, ``generation`` chooses
tokens, ``training`` trains; GPT-2's blocks are in ``backbone``, the trained parts in ``parts``.

    x  --encode-->  q(z|x) = N(mu, exp(logvar))  --z-->  prefill, decode_step ...  -->  x'

Axes: B rows, T tokens, C n_embd, H heads, D head size, L layers, M memory positions, Z latent size, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adavae.model.backbone import Backbone, causal_mask
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kv_cache import KVCache, Memory
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex


class AdaVAE(nn.Module):
    """The latent model over one backbone.

    Attributes:
        backbone: The decoder's GPT-2, and the encoder's too: one copy of the weights.
        bank: The trained parts.
        encoder_backbone: The encoder's GPT-2; differs from ``backbone`` only in the full fine-tuning baseline.
    """

    def __init__(self, backbone: Backbone, bank: AdapterBank, encoder_backbone: Backbone | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.bank = bank
        self.encoder_backbone = encoder_backbone if encoder_backbone is not None else backbone

    @property
    def eos_token_id(self) -> int:
        """Begins every decoded text, and ends it."""
        return self.backbone.config.eos_token_id

    def encode(self, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Posterior:
        """x to q(z|x) (paper Section 2.1, Figure 1).

        Args:
            token_ids: Right-padded texts, (B, T), int64.
            attention_mask: True on real tokens, (B, T), bool; every row has at least one.
            index: Adapter set of each row.

        Returns:
            Posterior over (B, Z), float32.
        """
        hidden = self.encode_hidden(token_ids, attention_mask, index)  # (B, T, C)
        is_compiled = self.bank.compiled(self._encoder_kernel(index), index) is not None
        aggregate = self.bank.aggregate_each if is_compiled else self.bank.aggregate
        return self.bank.posterior_of(aggregate(hidden, attention_mask, index), index)  # of v_z, (B, K * C)

    def encode_hidden(self, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """The encoder before it is pooled: the first blocks, then the final layer norm.

        Every token of a text sees every other one, unless its set's encoder is causal.

        Arguments as for ``encode``; returns (B, T, C), undefined on padding.
        """
        if (compiled := self.bank.compiled(self._encoder_kernel(index), index)) is not None:
            kernel, sets = compiled
            return kernel.encode_hidden(token_ids, attention_mask, sets)
        return self.plain_encode_hidden(token_ids, attention_mask, index)

    def _encoder_kernel(self, index: AdapterIndex) -> BackboneKernel | None:
        """None for sets with a prefix in front of the encoder's text, which the compiled code does not know."""
        return None if self.bank.has_encoder_prefix(index) else self.encoder_backbone.kernel

    def plain_encode_hidden(self, token_ids: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """``encode_hidden`` in PyTorch: for any device and dtype, and the reference for the compiled blocks."""
        backbone, bank = self.encoder_backbone, self.bank
        x = backbone.embed(token_ids, torch.arange(token_ids.shape[1], device=token_ids.device))  # (B, T, C)
        memory = bank.encoder_memory(index)  # a prefix, if any row's set has one
        mask = self._encoder_mask(attention_mask, memory, index)
        depths = bank.encoder_depths(index)
        stores = [None] * max(depths) if memory is None else memory.stores()
        for layer in range(max(depths)):
            deeper = backbone.blocks[layer](x, mask, stores[layer], bank.encoder_layer(layer, index))
            if layer < min(depths):
                x = deeper
            else:  # rows whose set uses fewer blocks are done already
                goes_on = torch.tensor([layer < depth for depth in depths], device=x.device)
                x = torch.where(goes_on[:, None, None], deeper, x)
        hidden: Tensor = backbone.ln_f(x)
        return hidden

    def _encoder_mask(self, attention_mask: Tensor, memory: Memory | None, index: AdapterIndex) -> Tensor:
        """True where a token may look: the row's prefix and its text; (B, 1, 1, M + T), or (B, 1, T, M + T)."""
        mask = attention_mask if memory is None else torch.cat([memory.mask, attention_mask], 1)
        mask = mask[:, None, None, :]
        is_causal = self.bank.has_causal_encoder(index)
        if not any(is_causal):
            return mask
        T = attention_mask.shape[1]
        earlier = causal_mask(T, mask.shape[-1] - T, device=mask.device)  # (T, M + T)
        return mask & (earlier | ~torch.tensor(is_causal, device=mask.device)[:, None, None, None])

    def hidden_states(self, token_ids: Tensor, z: Tensor, index: AdapterIndex) -> Tensor:
        """The teacher-forced decoder: all blocks, causal, z and the prefix in front of every layer's keys and values.

        Args:
            token_ids: What the decoder reads: end-of-text, then the text, right-padded, (B, T), int64.
            z: (B, Z).
            index: Adapter set of each row.

        Returns:
            (B, T, C), ready for the output embedding; a position never sees a later one, so padding needs no mask.
        """
        memory = self.bank.decoder_memory(z, index)
        T = token_ids.shape[1]
        mask = _teacher_forced_mask(memory, T)
        x = self.backbone.embed(token_ids, torch.arange(T, device=token_ids.device))  # (B, T, C)
        stores = memory.stores()
        for layer, block in enumerate(self.backbone.blocks):
            x = block(x, mask, stores[layer], self.bank.decoder_layer(layer, index))
        hidden: Tensor = self.backbone.ln_f(x)
        return hidden

    def prefill(self, z: Tensor, index: AdapterIndex, max_tokens: int) -> tuple[Tensor, KVCache]:
        """Starts decoding: puts z into the cache and feeds end-of-text as the first token (paper Section 2.3).

        Args:
            z: (B, Z).
            index: Adapter set of each row.
            max_tokens: The most tokens that will be decoded.

        Returns:
            Logits of the first token, (B, V), and the cache for the following steps.
        """
        kv_cache = KVCache.starting_with(self.bank.decoder_memory(z, index), max_tokens)
        first = torch.full((z.shape[0],), self.eos_token_id, dtype=torch.int64, device=z.device)
        return self.decode_step(first, kv_cache, index), kv_cache

    def decode_step(self, token_ids: Tensor, kv_cache: KVCache, index: AdapterIndex) -> Tensor:
        """Decodes one more token for every row; ``kv_cache`` grows in place.

        Args:
            token_ids: Each row's newest token, (B,), int64.
            kv_cache: What ``prefill`` returned, or rows selected from it.
            index: Adapter set of each row.

        Returns:
            Logits of the next token, (B, V).
        """
        if (compiled := self.bank.compiled(self.backbone.kernel, index)) is not None:
            kernel, sets = compiled
            return kernel.decode_step(token_ids, kv_cache, sets)
        return self.plain_decode_step(token_ids, kv_cache, index)

    def plain_decode_step(self, token_ids: Tensor, kv_cache: KVCache, index: AdapterIndex) -> Tensor:
        """``decode_step`` in PyTorch: for any device and dtype, and the reference for the compiled step."""
        step = kv_cache.begin_step()
        mask = step.mask
        x = self.backbone.embed(token_ids.unsqueeze(1), step.positions)  # (B, 1, C)
        for layer, block in enumerate(self.backbone.blocks):
            x = block(x, mask, step.layer(layer), self.bank.decoder_layer(layer, index))
        return self.backbone.logits(self.backbone.ln_f(x)).squeeze(1)

    def classify(self, mu: Tensor, index: AdapterIndex) -> Tensor:
        """Class logits, (B, labels), from mu, (B, Z); raises AdapterSetMismatch where a row's set has no head."""
        return self.bank.classify(mu, index)

    def widened(self, z: Tensor) -> Tensor:
        """Pads one set's latents with zeros to the bank's size: (B, Z), in the backbone's dtype, on its device."""
        wide = self.backbone.wte.weight.new_zeros(len(z), self.bank.shape.latent_size)
        wide[:, : z.shape[1]] = z
        return wide


def _teacher_forced_mask(memory: Memory, num_tokens: int) -> Tensor:
    """True where a token may look: its row's memory, itself and earlier tokens; (T, M + T) or (B, 1, T, M + T)."""
    B, M = memory.mask.shape
    mask = causal_mask(num_tokens, M, device=memory.mask.device)
    if not bool(memory.mask.all()):
        mask = mask.expand(B, 1, num_tokens, M + num_tokens).clone()
        mask[..., :M] = memory.mask[:, None, None, :]
    return mask


def pad(
    rows: Sequence[Sequence[int]], padding_id: int, device: torch.device | None = None, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """Right-pads token ids to one rectangle.

    Args:
        rows: Token ids of each text.
        padding_id: The token to pad with; never attended to.
        device: Device of the result.
        width: T; the longest text's length if left out.

    Returns:
        token_ids (B, T), int64, and attention_mask (B, T), bool, True on real tokens.
    """
    T = max(len(row) for row in rows) if width is None else width
    token_ids = torch.tensor([[*row, *[padding_id] * (T - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return token_ids, torch.arange(T, device=device) < lengths.unsqueeze(1)
