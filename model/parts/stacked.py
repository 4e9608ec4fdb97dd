"""Weights of S adapter sets stacked in one tensor; the one place that knows how rows find their slot.

A batch in which all rows use one slot costs as much as a plain linear layer; a mixed batch is sorted by slot and
computed slot by slot, or as one batched product if the slots are neighbours. Weights are never copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GAP = -1
_MAX_GRID_SHARE = 1.5  # sorted places per row: beyond this, padding costs more than going slot by slot


@dataclass(frozen=True, slots=True)
class AdapterIndex:
    """The slot of the bank that each row of a batch uses.

    Attributes:
        slots: Slot of each row.
        spans: Every distinct slot in turn, with the start and end of its rows once they are sorted by slot.
        order: The row at each sorted place, int64; None if the rows are already sorted.
        inverse: The sorted place of each row, (B,), int64; None if ``order`` is.
        grid: First and last of neighbouring slots that take equally many sorted places each; None if too many of these
            places would be padding (copies of row 0).
    """

    slots: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]
    order: Tensor | None
    inverse: Tensor | None
    grid: tuple[int, int] | None

    @classmethod
    def of(cls, slots: Sequence[int], device: torch.device | None = None) -> Self:
        order = sorted(range(len(slots)), key=lambda row: slots[row])
        spans = _spans([slots[row] for row in order])
        grid = _grid(spans, len(slots))
        if grid is not None:
            order = _filled(order, spans, grid)
        if order == list(range(len(slots))):
            return cls(tuple(slots), spans, None, None, grid)
        place_of = {row: place for place, row in enumerate(order)}
        inverse = torch.tensor([place_of[row] for row in range(len(slots))], device=device)
        return cls(tuple(slots), spans, torch.tensor(order, device=device).clamp(min=0), inverse, grid)

    @classmethod
    def uniform(cls, num_rows: int, slot: int = 0) -> Self:
        """All rows use one slot."""
        return cls.of([slot] * num_rows)

    @property
    def only_slot(self) -> int | None:
        """The slot all rows share, or None where they differ."""
        return self.spans[0][0] if len(self.spans) == 1 else None

    def sorted(self, x: Tensor) -> Tensor:
        """Rows of ``x``, (B, ...), sorted by slot; in a grid, more than B."""
        return x if self.order is None else x.index_select(0, self.order)

    def unsorted(self, x: Tensor) -> Tensor:
        """The inverse of ``sorted``."""
        return x if self.inverse is None else x.index_select(0, self.inverse)

    def select(self, rows: Tensor) -> "AdapterIndex":
        """The index of a batch made of ``rows`` of this one, (B',), int64; rows may repeat."""
        return AdapterIndex.of([self.slots[row] for row in rows.tolist()], rows.device)

    def __len__(self) -> int:
        return len(self.slots)


def _spans(slots: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    """(slot, start, stop) of every run of sorted ``slots``."""
    ends = [place for place in range(1, len(slots)) if slots[place] != slots[place - 1]]
    return tuple((slots[start], start, stop) for start, stop in pairwise([0, *ends, len(slots)]) if start < stop)


def _grid(spans: Sequence[tuple[int, int, int]], num_rows: int) -> tuple[int, int] | None:
    """First and last slot, if a grid over them has few enough places."""
    if len(spans) < 2:
        return None
    first, last = spans[0][0], spans[-1][0]
    num_places = (last - first + 1) * _longest(spans)
    return (first, last) if num_places <= _MAX_GRID_SHARE * num_rows else None


def _filled(order: Sequence[int], spans: Sequence[tuple[int, int, int]], grid: tuple[int, int]) -> list[int]:
    """Rows by slot, each slot with as many places as the fullest one; gaps hold _GAP."""
    filled: list[int] = []
    rows = {slot: order[start:stop] for slot, start, stop in spans}
    for slot in range(grid[0], grid[1] + 1):
        places = rows.get(slot, [])
        filled += [*places, *[_GAP] * (_longest(spans) - len(places))]
    return filled


def _longest(spans: Sequence[tuple[int, int, int]]) -> int:
    return max(stop - start for _, start, stop in spans)


class StackedLinear(nn.Module):
    """S linear layers of one shape, one per slot.

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
        """Applies each row's layer.

        Args:
            x: (B, ..., in).
            index: Slot of each of the B rows.

        Returns:
            (B, ..., out).
        """
        return index.unsorted(self.of_sorted(index.sorted(x), index))

    def of_sorted(self, x: Tensor, index: AdapterIndex) -> Tensor:
        """As ``forward``, from and to rows that are sorted by slot."""
        if index.only_slot is not None:
            return self._apply_slot(x, index.only_slot)
        if index.grid is not None:
            return self._apply_grid(x, *index.grid)
        return torch.cat([self._apply_slot(x[start:stop], slot) for slot, start, stop in index.spans])

    def _apply_slot(self, x: Tensor, slot: int) -> Tensor:
        return F.linear(x, self.weight[slot], None if self.bias is None else self.bias[slot])

    def _apply_grid(self, x: Tensor, first: int, last: int) -> Tensor:
        """Neighbouring slots with equally many rows each, as one batched product."""
        S = last - first + 1
        rows = x.reshape(S, -1, x.shape[-1])  # (S, rows of a slot, in)
        weight = self.weight[first : last + 1].mT
        if self.bias is None:
            output = torch.bmm(rows, weight)
        else:
            output = torch.baddbmm(self.bias[first : last + 1].unsqueeze(1), rows, weight)
        return output.view(*x.shape[:-1], self.out_features)
