"""Weights of S adapter sets stacked in one tensor, picked per row: the one place that knows how rows find their slot.

A batch in which all rows use the same slot costs what a plain linear layer costs; a mixed batch is sorted by slot and
computed slot by slot, without ever copying weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AdapterIndex:
    """The slot of the bank that each row of a batch uses.

    Attributes:
        slots: Slot of each row.
        spans: Every distinct slot in turn, with where its rows begin and end once they are sorted by slot.
        order: The rows sorted by slot, (B,), int64; None where they are already.
        inverse: Where each row is found among the sorted ones, (B,), int64; None as ``order``.
    """

    slots: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]
    order: Tensor | None
    inverse: Tensor | None

    @classmethod
    def of(cls, slots: Sequence[int], device: torch.device | None = None) -> Self:
        order = sorted(range(len(slots)), key=lambda row: slots[row])
        ends = [place for place in range(1, len(slots)) if slots[order[place]] != slots[order[place - 1]]]
        edges = [0, *ends, len(slots)]
        spans = tuple((slots[order[start]], start, stop) for start, stop in pairwise(edges) if start < stop)
        if order == list(range(len(slots))):
            return cls(tuple(slots), spans, None, None)
        forward = torch.tensor(order, device=device)
        return cls(tuple(slots), spans, forward, forward.argsort())

    @classmethod
    def uniform(cls, num_rows: int, slot: int = 0) -> Self:
        """All rows use one slot."""
        return cls.of([slot] * num_rows)

    @property
    def only_slot(self) -> int | None:
        """The slot all rows share, or None where they differ."""
        return self.spans[0][0] if len(self.spans) == 1 else None

    def sorted(self, x: Tensor) -> Tensor:
        """Rows of ``x``, (B, ...), brought together by slot."""
        return x if self.order is None else x.index_select(0, self.order)

    def unsorted(self, x: Tensor) -> Tensor:
        """The inverse of ``sorted``."""
        return x if self.inverse is None else x.index_select(0, self.inverse)

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
        return index.unsorted(self.of_sorted(index.sorted(x), index))

    def of_sorted(self, x: Tensor, index: AdapterIndex) -> Tensor:
        """As ``forward``, from and to rows that are sorted by slot."""
        if len(index.spans) == 1:
            return self._apply_slot(x, index.spans[0][0])
        return torch.cat([self._apply_slot(x[start:stop], slot) for slot, start, stop in index.spans])

    def _apply_slot(self, x: Tensor, slot: int) -> Tensor:
        return F.linear(x, self.weight[slot], None if self.bias is None else self.bias[slot])
