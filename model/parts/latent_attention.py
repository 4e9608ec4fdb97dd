"""How hidden states become one vector v_z: latent attention (paper Eq. 1), and the pooled variant ("LG") beside it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.parts.stacked import AdapterIndex, StackedLinear


class LatentAttention(nn.Module):
    """v_z = sum_t softmax(f(v_t) / sqrt(C))_t * v_t with f linear, without bias; padding is ignored.

    In the paper f gives one number per token; K numbers give K such sums, concatenated, so that z can tell the parts of
    a sentence apart.
    """

    def __init__(self, num_slots: int, n_embd: int, num_heads: int = 1) -> None:
        super().__init__()
        self.score = StackedLinear(num_slots, n_embd, num_heads, bias=False)
        nn.init.normal_(self.score.weight)

    def forward(self, hidden: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """Pools the encoder's output.

        Args:
            hidden: Last-layer hidden states, (B, T, C).
            attention_mask: True on real tokens, (B, T).
            index: Slot of each row.

        Returns:
            v_z, (B, K * C).
        """
        scores = self.score(hidden, index).float() / hidden.shape[-1] ** 0.5  # (B, T, K)
        shares = scores.masked_fill(~attention_mask.unsqueeze(-1), -torch.inf).softmax(1).to(hidden.dtype)
        return torch.einsum("btk,btc->bkc", shares, hidden).flatten(1)

    def alone(self, states: Tensor, slot: int) -> Tensor:
        """As ``forward`` for one text: hidden states (T, C) to v_z, (K * C,)."""
        scores = F.linear(states, self.score.weight[slot]).float() / states.shape[-1] ** 0.5  # (T, K)
        return torch.mm(scores.softmax(0).to(states.dtype).T, states).flatten()


class Pooled(nn.Module):
    """v_z = tanh(Linear(mean of the hidden states)), as in Optimus; padding is ignored."""

    def __init__(self, num_slots: int, n_embd: int) -> None:
        super().__init__()
        self.linear = StackedLinear(num_slots, n_embd, n_embd)

    def forward(self, hidden: Tensor, attention_mask: Tensor, index: AdapterIndex) -> Tensor:
        """As ``LatentAttention.forward``."""
        is_token = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        mean = (hidden * is_token).sum(1) / is_token.sum(1)
        return torch.tanh(self.linear(mean, index))
