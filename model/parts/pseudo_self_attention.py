"""How z enters the decoder: as keys and values in front of the text's in every layer (paper Section 2.3, Eq. 2).

They depend on z alone, so they are computed once per row, before the first token.
"""

import torch
from torch import Tensor, nn

from adavae.model.parts.stacked import AdapterIndex, StackedLinear


class LatentMemory(nn.Module):
    """z to key/value positions of every decoder layer: pseudo self-attention, add-to-memory, or both.

    z is projected to M vectors of the backbone's width, shared by the layers. Pseudo self-attention makes a key
    and a value of each; add-to-memory makes one vector that serves as both. M = 1 is the paper.
    """

    def __init__(
        self,
        num_slots: int,
        *,
        latent_size: int,
        n_embd: int,
        n_layer: int,
        positions: int,
        has_psa: bool,
        has_atm: bool,
    ) -> None:
        super().__init__()
        self.positions = positions
        self.n_embd = n_embd
        self.projection = StackedLinear(num_slots, latent_size, positions * n_embd, bias=False)
        self.psa = nn.ModuleList(StackedLinear(num_slots, n_embd, 2 * n_embd) for _ in range(n_layer * has_psa))
        self.atm = nn.ModuleList(StackedLinear(num_slots, n_embd, n_embd, bias=False) for _ in range(n_layer * has_atm))

    def forward(self, z: Tensor, index: AdapterIndex) -> tuple[Tensor, Tensor]:
        """Keys and values of every layer.

        Args:
            z: (B, Z).
            index: Slot of each row.

        Returns:
            Keys and values, each (L, B, M', C); M' is M for one way of infusion, 2 M for both (PSA first).
        """
        B = z.shape[0]
        vectors = self.projection(z, index).view(B, self.positions, self.n_embd)  # (B, M, C)
        ways: list[Tensor] = []
        if len(self.psa):
            ways.append(torch.stack([layer(vectors, index) for layer in self.psa]))  # (L, B, M, 2 C)
        if len(self.atm):
            shared = torch.stack([layer(vectors, index) for layer in self.atm])  # (L, B, M, C)
            ways.append(torch.cat([shared, shared], dim=-1))
        keys, values = torch.cat(ways, dim=2).chunk(2, dim=-1)
        return keys, values
