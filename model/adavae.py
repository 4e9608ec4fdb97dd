"""START READING HERE: AdaVAE, one frozen GPT-2 as encoder and decoder, and a bank of adapter sets over it.

This file composes the parts and works on token ids and latent vectors. From text to text is ``text_model``'s business,
choosing tokens ``generation``'s, training ``training``'s.

    x  --encode-->  q(z|x) = N(mu, exp(logvar))  --z-->  prefill, decode_step ...  -->  x'
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adavae.model import decoder, encoder
from adavae.model.backbone import Backbone
from adavae.model.kv_cache import KVCache
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex


class AdaVAE(nn.Module):
    """The latent model over one backbone.

    Attributes:
        backbone: The decoder's GPT-2, and the encoder's too: one copy of the weights.
        bank: The trained parts.
        encoder_backbone: The encoder's GPT-2; another one than ``backbone`` only in the full fine-tuning baseline.
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
        """Right-padded token ids, (B, T), to q(z|x) over (B, Z); see ``encoder.encode``."""
        return encoder.encode(self.encoder_backbone, self.bank, token_ids, attention_mask, index)

    def hidden_states(self, token_ids: Tensor, z: Tensor, index: AdapterIndex) -> Tensor:
        """Teacher-forced decoder states, (B, T, C); see ``decoder.hidden_states``."""
        return decoder.hidden_states(self.backbone, self.bank, token_ids, z, index)

    def prefill(self, z: Tensor, index: AdapterIndex, max_tokens: int) -> tuple[Tensor, KVCache]:
        """First logits, (B, V), and the cache; see ``decoder.prefill``."""
        return decoder.prefill(self.backbone, self.bank, z, index, max_tokens)

    def decode_step(self, token_ids: Tensor, kv_cache: KVCache, index: AdapterIndex) -> Tensor:
        """Next logits, (B, V); see ``decoder.decode_step``."""
        return decoder.decode_step(self.backbone, self.bank, token_ids, kv_cache, index)

    def classify(self, mu: Tensor, index: AdapterIndex) -> Tensor:
        """Class logits, (B, labels), from mu, (B, Z)."""
        return self.bank.classify(mu, index)


def pad(rows: Sequence[Sequence[int]], padding_id: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Right-pads token ids to one rectangle.

    Args:
        rows: Token ids of each text.
        padding_id: Fills the rest; never attended to.
        device: Where the tensors go.

    Returns:
        token_ids (B, T), int64, and attention_mask (B, T), bool, True on real tokens.
    """
    T = max(len(row) for row in rows)
    token_ids = torch.tensor([[*row, *[padding_id] * (T - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return token_ids, torch.arange(T, device=device) < lengths.unsqueeze(1)
