"""Keys and values of earlier positions: the decoder's cache, and the plain concatenation used where nothing is kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.fresh_memory import fresh_zeros


@dataclass(frozen=True, slots=True)
class Memory:
    """Key/value positions in front of the text's, for every layer, made from z and the prefix.

    Attributes:
        keys: (L, B, H, M, D).
        values: (L, B, H, M, D).
        mask: True where the row has that position, (B, M).
    """

    keys: Tensor
    values: Tensor
    mask: Tensor

    @property
    def num_positions(self) -> int:
        return self.mask.shape[1]

    def stores(self) -> list["MemoryStore"]:
        """Each layer's; taken apart at once, so that a gradient is put together once and not layer by layer."""
        return [MemoryStore(*layer) for layer in zip(self.keys.unbind(), self.values.unbind(), strict=True)]


class MemoryStore:
    """Puts one layer's memory in front of the text's keys and values, and keeps nothing."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values  # (B, H, M, D)

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, T, D) each in, (B, H, M + T, D) each out."""
        return torch.cat([self.keys.to(keys.dtype), keys], 2), torch.cat([self.values.to(values.dtype), values], 2)


class KVCache:
    """One preallocated cache for a batch: memory first, then one column per decoded token.

    Attributes:
        keys: (L, B, H, M + T_max, D).
        values: (L, B, H, M + T_max, D).
        is_filled: True where a position holds something the row may attend to, (B, M + T_max).
        lengths: Tokens each row has read so far, (B,), int64.
    """

    def __init__(self, keys: Tensor, values: Tensor, is_filled: Tensor, lengths: Tensor, num_memory: int) -> None:
        self.keys, self.values = keys, values
        self.is_filled = is_filled
        self.lengths = lengths
        self.num_memory = num_memory

    @classmethod
    def starting_with(cls, memory: Memory, max_tokens: int) -> "KVCache":
        """An empty cache for ``max_tokens`` tokens a row, behind ``memory``."""
        L, B, H, M, D = memory.keys.shape
        keys = memory.keys.new_zeros(L, B, H, M + max_tokens, D)
        values = torch.zeros_like(keys)
        keys[:, :, :, :M], values[:, :, :, :M] = memory.keys, memory.values
        is_filled = torch.zeros(B, M + max_tokens, dtype=torch.bool, device=keys.device)
        is_filled[:, :M] = memory.mask
        return cls(keys, values, is_filled, torch.zeros(B, dtype=torch.int64, device=keys.device), M)

    @property
    def max_tokens(self) -> int:
        return self.is_filled.shape[1] - self.num_memory

    def begin_step(self) -> "CacheStep":
        """Opens the next position of every row; the step's stores write there."""
        B, H, W = len(self.lengths), self.keys.shape[2], self.is_filled.shape[1]
        rows = torch.arange(B, device=self.lengths.device)
        columns = self.num_memory + self.lengths  # (B,)
        self.is_filled[rows, columns] = True
        self.lengths += 1
        heads = torch.arange(B * H, device=rows.device).view(B, H)
        places = (heads * W + columns.unsqueeze(1)).flatten()  # (B * H,)
        return CacheStep(cache=self, columns=columns, places=places, width=int(columns.max()) + 1)

    def select(self, rows: Tensor) -> "KVCache":
        """A cache of ``rows`` of this one, (B',), int64; rows may repeat (beams) or be left out (finished)."""
        num_used = self.num_memory + int(self.lengths.max())  # nothing stands in the columns behind
        keys, values = (_chosen(whole, rows, num_used) for whole in (self.keys, self.values))
        return KVCache(keys, values, self.is_filled[rows], self.lengths[rows], self.num_memory)


def _chosen(whole: Tensor, rows: Tensor, num_used: int) -> Tensor:
    """Rows of keys or values, (L, B, H, W, D), of which the first columns alone are copied; the others are zero."""
    L, _, H, W, D = whole.shape
    chosen = fresh_zeros((L, len(rows), H, W, D), whole.dtype, whole.device)
    chosen[:, :, :, :num_used] = whole[:, rows, :, :num_used]
    return chosen


@dataclass(frozen=True, slots=True)
class CacheStep:
    """One decoding step's view of a cache: where each row writes, and how far attention has to look."""

    cache: KVCache
    columns: Tensor
    places: Tensor
    width: int

    @property
    def mask(self) -> Tensor:
        """Added to the attention scores, (B, 1, 1, width): zero where a row may look, minus infinity elsewhere."""
        is_filled = self.cache.is_filled[:, None, None, : self.width]
        return self.cache.keys.new_zeros(is_filled.shape).masked_fill_(~is_filled, -torch.inf)

    @property
    def positions(self) -> Tensor:
        """Position of each row's token within its text, (B, 1)."""
        return (self.columns - self.cache.num_memory).unsqueeze(1)

    def layer(self, layer: int) -> "LayerStore":
        return LayerStore(self, layer)


@dataclass(frozen=True, slots=True)
class LayerStore:
    """One layer of a cache during one step."""

    step: CacheStep
    index: int

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes one position per row, (B, H, 1, D) each; returns all positions so far, (B, H, width, D) each."""
        step, D = self.step, keys.shape[-1]
        layer_keys, layer_values = step.cache.keys[self.index], step.cache.values[self.index]  # (B, H, M + T_max, D)
        layer_keys.view(-1, D).index_copy_(0, step.places, keys.reshape(-1, D))
        layer_values.view(-1, D).index_copy_(0, step.places, values.reshape(-1, D))
        return layer_keys[:, :, : step.width], layer_values[:, :, : step.width]
