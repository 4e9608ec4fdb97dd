"""The KV cache of continuous decoding: preallocated once, rows join and leave between steps.

Active rows are always at the front, so a step works on views and copies nothing: when a row leaves, the last row
overwrites it. What a row has written is zero once it has left: attention in PyTorch multiplies what is masked by zero,
which is no zero where a row has overflowed, and the next row at that place would fail for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.config import BackboneConfig
from adavae.model.fresh_memory import fresh_zeros
from adavae.model.kv_cache import KVCache, Memory


class RowCache:
    """Room for ``max_rows`` rows of ``num_memory`` memory positions and ``max_tokens`` tokens each.

    Attributes:
        num_rows: Active rows, at places 0 to ``num_rows`` - 1.
    """

    def __init__(
        self, config: BackboneConfig, *, num_memory: int, max_rows: int, max_tokens: int, like: Tensor
    ) -> None:
        shape = (config.n_layer, max_rows, config.n_head, num_memory + max_tokens, config.head_size)
        device = like.device
        self._whole = KVCache(
            keys=fresh_zeros(shape, like.dtype, device),
            values=fresh_zeros(shape, like.dtype, device),
            is_filled=torch.zeros(max_rows, num_memory + max_tokens, dtype=torch.bool, device=device),
            lengths=torch.zeros(max_rows, dtype=torch.int64, device=device),
            num_memory=num_memory,
        )
        self.max_rows, self.max_tokens = max_rows, max_tokens
        self.num_rows = 0

    @property
    def num_free(self) -> int:
        return self.max_rows - self.num_rows

    def join(self, memory: Memory) -> range:
        """Adds new rows behind the active ones; there must be room for all B rows of ``memory``.

        Returns:
            Their places.
        """
        places = range(self.num_rows, self.num_rows + len(memory.mask))
        rows, M = slice(places.start, places.stop), memory.num_positions
        whole = self._whole
        whole.keys[:, rows, :, :M], whole.values[:, rows, :, :M] = memory.keys, memory.values
        whole.is_filled[rows] = False
        whole.is_filled[rows, :M] = memory.mask
        whole.lengths[rows] = 0
        self.num_rows = places.stop
        return places

    def leave(self, places: Sequence[int]) -> list[tuple[int, int]]:
        """Frees ``places``; the last rows move up into the gaps.

        Returns:
            The moves made, (from, to), in the order in which the caller must repeat them in its lists.
        """
        moves = []
        for place in sorted(places, reverse=True):
            last = self.num_rows - 1
            self._clear(place)
            if place != last:
                self._copy(last, place)
                self._clear(last)
                moves.append((last, place))
            self.num_rows = last
        return moves

    def _clear(self, place: int) -> None:
        """Of its tokens; one more than it has, for a step that failed may have written that."""
        whole, M = self._whole, self._whole.num_memory
        tokens = slice(M, M + int(whole.lengths[place]) + 1)
        whole.keys[:, place, :, tokens] = 0.0
        whole.values[:, place, :, tokens] = 0.0

    def _copy(self, source: int, target: int) -> None:
        whole = self._whole
        width = whole.num_memory + int(whole.lengths[source])
        whole.keys[:, target, :, :width] = whole.keys[:, source, :, :width]
        whole.values[:, target, :, :width] = whole.values[:, source, :, :width]
        whole.is_filled[target] = whole.is_filled[source]
        whole.lengths[target] = whole.lengths[source]

    def view(self, start: int, stop: int) -> KVCache:
        """Places ``start`` to ``stop`` as a separate cache that shares this one's memory."""
        whole, rows = self._whole, slice(start, stop)
        return KVCache(
            whole.keys[:, rows], whole.values[:, rows], whole.is_filled[rows], whole.lengths[rows], whole.num_memory
        )

    def undo_step(self, start: int, stop: int, lengths: Tensor) -> None:
        """Undoes a failed step: ``lengths``, (stop - start,), are the lengths from before it."""
        whole, rows = self._whole, slice(start, stop)
        whole.lengths[rows] = lengths
        positions = torch.arange(whole.max_tokens, device=lengths.device)
        whole.is_filled[rows, whole.num_memory :] = positions < lengths.unsqueeze(1)
