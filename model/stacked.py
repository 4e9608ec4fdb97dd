"""Weights of S adapter sets stacked in one tensor, picked per row: the one place that knows how rows find their slot.

A batch in which all rows use the same slot costs what a plain linear layer costs; a mixed batch is computed slot by
slot, without ever copying weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AdapterIndex:
    """The slot of the bank that each row of a batch uses.

    Attributes:
        slots: Slot of each row.
        groups: Every distinct slot with the rows that use it, (rows of the slot,), int64.
    """

    slots: tuple[int, ...]
    groups: tuple[tuple[int, Tensor], ...]

    @classmethod
    def of(cls, slots: Sequence[int], device: torch.device | None = None) -> Self:
        groups = tuple(
            (slot, torch.tensor([row for row, own in enumerate(slots) if own == slot], device=device))
            for slot in sorted(set(slots))
        )
        return cls(slots=tuple(slots), groups=groups)

    @classmethod
    def uniform(cls, num_rows: int, slot: int = 0) -> Self:
        """All rows use one slot."""
        return cls.of([slot] * num_rows)

    @property
    def only_slot(self) -> int | None:
        """The slot all rows share, or None where they differ."""
        return self.groups[0][0] if len(self.groups) == 1 else None

    def select(self, rows: Tensor) -> "AdapterIndex":
        """The index of a batch made of ``rows`` of this one, (B',), int64; rows may repeat."""
        return AdapterIndex.of([self.slots[row] for row in rows.tolist()], rows.device)

    def __len__(self) -> int:
        return len(self.slots)


class StackedLinear(nn.Module):
    """S linear layers of one shape, one a slot.

    Attributes:
        weight: (S, out, in).
        bias: (S, out), or None.
    """

    def __init__(self, num_slots: int, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(num_slots, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_slots, out_features)) if bias else None
        bound = in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, index: AdapterIndex) -> Tensor:
        """Applies each row's own layer.

        Args:
            x: (B, ..., in).
            index: Slot of each of the B rows.

        Returns:
            (B, ..., out).
        """
        if index.only_slot is not None:
            return self._apply_slot(x, index.only_slot)
        first_slot, first_rows = index.groups[0]
        first = self._apply_slot(x[first_rows], first_slot)
        output = first.new_empty(*x.shape[:-1], self.out_features)
        output[first_rows] = first
        for slot, rows in index.groups[1:]:
            output[rows] = self._apply_slot(x[rows], slot)
        return output

    def _apply_slot(self, x: Tensor, slot: int) -> Tensor:
        return F.linear(x, self.weight[slot], None if self.bias is None else self.bias[slot])
