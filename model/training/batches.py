"""Which texts each step of a training run reads: batches of similar lengths, from the seed and the step alone."""

import random
from collections.abc import Sequence
from itertools import pairwise


class Batches:
    """An endless, seeded stream of batches of similar lengths, addressed by step, so resuming needs no state.

    Step s is batch ``s % batches_per_epoch`` of epoch ``s // batches_per_epoch``; every epoch has each row once.
    """

    _CHUNK = 64  # batches whose rows are sorted by length together

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.batches_per_epoch = -(-len(lengths) // batch_size)
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def rows_at(self, step: int) -> list[int]:
        """Rows of the batch of one step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._batches_of(epoch))
        return self._epoch[1][place]

    def _batches_of(self, epoch: int) -> list[list[int]]:
        """Depends on (seed, epoch) alone."""
        generator = random.Random(f"{self.seed}:{epoch}")
        rows = list(range(len(self.lengths)))
        generator.shuffle(rows)
        batches: list[list[int]] = []
        span = self.batch_size * self._CHUNK
        for start in range(0, len(rows), span):
            chunk = sorted(rows[start : start + span], key=lambda row: self.lengths[row])
            # Of equal size, give or take a row: a last batch of two or three rows would weigh as much as a full one.
            num_batches = -(-len(chunk) // self.batch_size)
            edges = [len(chunk) * number // num_batches for number in range(num_batches + 1)]
            batches += [chunk[low:high] for low, high in pairwise(edges)]
        generator.shuffle(batches)
        return batches
