"""Prefix-tuning: P learned key/value pairs per layer (paper Table 1, "+Prefix").

In training a small MLP makes them; afterwards only the finished keys and values are kept.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.parts.stacked import AdapterIndex


class PrefixMLP(nn.Module):
    """The trained form of one adapter set's prefix: P vectors and an MLP from them to all layers' keys and values."""

    def __init__(self, *, length: int, hidden: int, n_embd: int, n_layer: int) -> None:
        super().__init__()
        self.n_layer = n_layer
        self.vectors = nn.Parameter(torch.randn(length, n_embd) * 0.02)
        self.down = nn.Linear(n_embd, hidden)
        self.up = nn.Linear(hidden, n_layer * 2 * n_embd)

    def table(self) -> Tensor:
        """Keys and values of every layer, (2, L, P, C)."""
        flat = self.up(torch.tanh(self.down(self.vectors)))  # (P, L * 2 * C)
        P, C = self.vectors.shape
        table: Tensor = flat.view(P, self.n_layer, 2, C).permute(2, 1, 0, 3)
        return table

    def forward(self, index: AdapterIndex) -> tuple[Tensor, Tensor]:
        """Keys and values for each row, each (L, B, P, C)."""
        keys, values = self.table().unsqueeze(2).expand(-1, -1, len(index), -1, -1)
        return keys, values


@dataclass(frozen=True, slots=True)
class PrefixMLPs:
    """The trained prefixes of encoder and decoder."""

    encoder: PrefixMLP
    decoder: PrefixMLP

    @classmethod
    def for_config(cls, backbone: BackboneConfig, config: AdapterConfig) -> Self:
        encoder, decoder = (
            PrefixMLP(
                length=config.prefix_length,
                hidden=config.prefix_hidden,
                n_embd=backbone.n_embd,
                n_layer=backbone.n_layer,
            )
            for _ in range(2)
        )
        return cls(encoder, decoder)


class PrefixTable(nn.Module):
    """The served form: finished keys and values of S adapter sets.

    Attributes:
        table: (S, 2, L, P, C).
    """

    def __init__(self, num_slots: int, *, length: int, n_embd: int, n_layer: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(num_slots, 2, n_layer, length, n_embd))

    def forward(self, index: AdapterIndex) -> tuple[Tensor, Tensor]:
        """Keys and values for each row, each (L, B, P, C)."""
        slots = torch.tensor(index.slots, device=self.table.device)
        keys, values = self.table[slots].permute(1, 2, 0, 3, 4)
        return keys, values
