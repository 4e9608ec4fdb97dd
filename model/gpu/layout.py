"""Texts of different lengths and adapter sets in one tensor without padding, and the tiles they are multiplied in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby
from typing import Self

import numpy as np
import torch
from torch import Tensor

TILE_ROWS = 64  # rows of one slot that one program multiplies


@dataclass(frozen=True, slots=True)
class SlotTiles:
    """Rows sorted by slot, cut into tiles of at most ``TILE_ROWS``.

    Attributes:
        spans: Slot, start and stop of every run of equal slots.
        table: The same for every tile, (3, tiles), int32, on the device.
    """

    spans: tuple[tuple[int, int, int], ...]
    table: Tensor

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int, int]], device: torch.device) -> Self:
        tiles = [
            (slot, begin, min(begin + TILE_ROWS, stop))
            for slot, start, stop in spans
            for begin in range(start, stop, TILE_ROWS)
        ]
        return cls(tuple(spans), on_device(tiles, torch.int32, device).T.contiguous())

    @property
    def only_slot(self) -> int | None:
        """The slot of all rows, or None if they differ."""
        slots = {slot for slot, _, _ in self.spans}
        return slots.pop() if len(slots) == 1 else None


@dataclass(frozen=True)
class PackedTexts:
    """Texts laid end to end, those of one adapter set next to each other.

    Attributes:
        lengths: Tokens of each text, none 0.
        slots: Adapter set of each text; equal ones are adjacent.
        token_ids: (N,), int64, N the sum of ``lengths``.
        positions: Position of each token within its text, (N,), int64.
        cumulative: Start of each text, and N, (B + 1,), int32.
        places: Place of each token in the padded rectangle, (N,), int64.
        tiles: The tokens' tiles by slot.
    """

    lengths: tuple[int, ...]
    slots: tuple[int, ...]
    token_ids: Tensor
    positions: Tensor
    cumulative: Tensor
    places: Tensor
    tiles: SlotTiles

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], slots: Sequence[int], device: torch.device) -> Self:
        """Lays out ``rows`` of token ids, which must be sorted so that equal ``slots`` are adjacent."""
        lengths = tuple(map(len, rows))
        width, ends = max(lengths), list(accumulate(lengths, initial=0))
        ids = np.fromiter(chain.from_iterable(rows), np.int64, ends[-1])
        text_of = np.repeat(np.arange(len(rows)), lengths)
        where = np.arange(ends[-1]) - np.array(ends)[text_of]
        numbers = np.stack([ids, where, text_of * width + where])
        token_ids, positions, places = queued(torch.from_numpy(numbers), device)
        spans, text = [], 0
        for slot, group in groupby(slots):
            stop = text + len(list(group))
            spans.append((slot, ends[text], ends[stop]))
            text = stop
        return cls(
            lengths=lengths,
            slots=tuple(slots),
            token_ids=token_ids,
            positions=positions,
            cumulative=on_device(ends, torch.int32, device),
            places=places,
            tiles=SlotTiles.of(spans, device),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def max_length(self) -> int:
        return max(self.lengths)

    @cached_property
    def attention_mask(self) -> Tensor:
        """True on real tokens of the padded rectangle, (B, T)."""
        lengths = self.cumulative.diff().unsqueeze(1)
        return torch.arange(self.max_length, device=lengths.device) < lengths

    def padded(self, x: Tensor) -> Tensor:
        """(N, C) to (B, T, C), zero on padding."""
        B, T, C = len(self), self.max_length, x.shape[1]
        return x.new_zeros(B * T, C).index_copy_(0, self.places, x).view(B, T, C)

    def packed(self, x: Tensor) -> Tensor:
        """(B, T, C) to (N, C): the inverse of ``padded``."""
        return x.reshape(-1, x.shape[-1]).index_select(0, self.places)

    def first(self, num_texts: int) -> "PackedTexts":
        """The first texts alone, as views."""
        if num_texts == len(self):
            return self
        lengths, N = self.lengths[:num_texts], sum(self.lengths[:num_texts])
        width = max(lengths)
        places = self.positions[:N] + width * (self.places[:N] // self.max_length)
        spans = [span for span in self.tiles.spans if span[1] < N]
        num_tiles = sum(-(-(stop - start) // TILE_ROWS) for _, start, stop in spans)
        return PackedTexts(
            lengths=lengths,
            slots=self.slots[:num_texts],
            token_ids=self.token_ids[:N],
            positions=self.positions[:N],
            cumulative=self.cumulative[: num_texts + 1],
            places=places,
            tiles=SlotTiles(tuple(spans), self.tiles.table[:, :num_tiles]),
        )


def on_device(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers from the host as a tensor on ``device``."""
    return queued(torch.tensor(values, dtype=dtype), device)


def queued(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of the host's ``tensor`` on ``device``; for a GPU the copy is queued without waiting."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
