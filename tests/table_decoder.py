"""A decoder without a network: logits looked up by latent, slot and the text so far, and a slow twin of ``generate``.

What it is told of rows and caches it checks, so that a row that goes astray in a batch is noticed.
"""

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import uniform
from adavae.model.decoding.step_decoder import Generated
from adavae.model.parts.stacked import AdapterIndex

EOS = 0
Table = Callable[[float, int, tuple[int, ...]], Sequence[float]]


def random_table(vocab_size: int, eos_bias: float = 0.0, spread: float = 2.0) -> Table:
    """Logits that look random, the same at every call for the same latent, slot and text."""

    def table(key: float, slot: int, text: tuple[int, ...]) -> list[float]:
        seed = zlib.crc32(repr((float(key), slot, text)).encode())
        logits = spread * torch.randn(vocab_size, generator=torch.Generator().manual_seed(seed))
        logits[EOS] += eos_bias
        values: list[float] = logits.tolist()
        return values

    return table


@dataclass
class TableCache:
    """What every row of a batch has written so far, and room for how much."""

    keys: tuple[float, ...]
    texts: tuple[tuple[int, ...], ...]
    room: int

    def select(self, rows: Tensor) -> "TableCache":
        chosen = rows.tolist()
        return TableCache(tuple(self.keys[row] for row in chosen), tuple(self.texts[row] for row in chosen), self.room)


class TableDecoder:
    """A ``StepDecoder``; the first number of a row's z is its key into the table.

    Attributes:
        batch_sizes: Rows of every prefill and step.
    """

    eos_token_id = EOS

    def __init__(self, table: Table) -> None:
        self._table = table
        self.batch_sizes: list[int] = []

    def prefill(self, z: Tensor, index: AdapterIndex, max_tokens: int) -> tuple[Tensor, TableCache]:
        kv_cache = TableCache(tuple(z[:, 0].tolist()), ((),) * len(z), room=max_tokens - 1)
        return self._logits(kv_cache, index), kv_cache

    def decode_step(self, token_ids: Tensor, kv_cache: TableCache, index: AdapterIndex) -> Tensor:
        assert len(token_ids) == len(kv_cache.texts), "a step takes one token for each row of its cache"
        kv_cache.texts = tuple((*text, token) for text, token in zip(kv_cache.texts, token_ids.tolist(), strict=True))
        assert all(len(text) <= kv_cache.room for text in kv_cache.texts), "the cache is full"
        return self._logits(kv_cache, index)

    def _logits(self, kv_cache: TableCache, index: AdapterIndex) -> Tensor:
        assert len(index) == len(kv_cache.keys), "a batch has one slot for each row of its cache"
        self.batch_sizes.append(len(index))
        rows = zip(kv_cache.keys, index.slots, kv_cache.texts, strict=True)
        return torch.tensor([list(self._table(*row)) for row in rows])


def latents(*keys: float) -> Tensor:
    """(B, 2), one row a key."""
    return torch.tensor([[key, 0.0] for key in keys])


def slow_distribution(logits: Sequence[float], text: Sequence[int], decoding: Decoding) -> list[float]:
    """The exact distribution that a sampled token is drawn from, in plain numbers."""
    scaled = [value / decoding.temperature for value in slow_penalised(logits, text, decoding)]
    top = max(scaled)
    weights = [math.exp(value - top) for value in scaled]
    total = sum(weights)
    kept: dict[int, float] = {}
    for token in slow_order(logits, text, decoding):
        is_within_k = not decoding.top_k or len(kept) < decoding.top_k
        if kept and not (is_within_k and (decoding.top_p >= 1 or sum(kept.values()) < decoding.top_p)):
            break
        kept[token] = weights[token] / total
    return [kept.get(token, 0.0) / sum(kept.values()) for token in range(len(logits))]


def slow_order(logits: Sequence[float], text: Sequence[int], decoding: Decoding) -> list[int]:
    """Tokens, the likeliest first."""
    penalised = slow_penalised(logits, text, decoding)
    return sorted(range(len(logits)), key=lambda token: -penalised[token])


def slow_penalised(logits: Sequence[float], text: Sequence[int], decoding: Decoding) -> list[float]:
    penalty = decoding.repetition_penalty
    return [
        value if token not in text else value / penalty if value > 0 else value * penalty
        for token, value in enumerate(logits)
    ]


def slow_generate(table: Table, key: float, slot: int, decoding: Decoding) -> Generated:
    """One greedy or sampled row, one token after the other."""
    assert decoding.strategy is not Strategy.BEAM
    text: list[int] = []
    for step in range(decoding.max_tokens):
        logits = list(table(key, slot, tuple(text)))
        if step < decoding.min_tokens:
            logits[EOS] = -math.inf
        token = slow_order(logits, text, decoding)[0]
        if decoding.strategy is Strategy.SAMPLE:
            token = _slow_draw(logits, text, decoding, step)
        if token == EOS:
            return Generated(tuple(text), "stop")
        text.append(token)
    return Generated(tuple(text), "length")


def _slow_draw(logits: Sequence[float], text: Sequence[int], decoding: Decoding, step: int) -> int:
    reached = itertools.accumulate(slow_distribution(logits, text, decoding))
    drawn = uniform(decoding.seed, step)
    return next(token for token, upto in enumerate(reached) if upto > drawn)


def exhaustive_best(table: Table, key: float, slot: int, decoding: Decoding, vocab_size: int) -> Generated:
    """The text with the highest log-probability per token (end-of-text counted) among all that there are."""

    def scores(text: tuple[int, ...], log_prob: float) -> list[tuple[float, Generated]]:
        if len(text) == decoding.max_tokens:
            return [(log_prob / len(text), Generated(text, "length"))]
        logits = torch.tensor(slow_penalised(table(key, slot, text), text, decoding), dtype=torch.float64)
        log_probs = logits.log_softmax(-1).tolist()
        ended = [((log_prob + log_probs[EOS]) / (len(text) + 1), Generated(text, "stop"))]
        going_on = (token for token in range(vocab_size) if token != EOS)
        return ended + [pair for token in going_on for pair in scores((*text, token), log_prob + log_probs[token])]

    return max(scores((), 0.0), key=lambda pair: pair[0])[1]
