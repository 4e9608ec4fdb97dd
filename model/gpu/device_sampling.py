"""Choosing the next token of every row on the device: the same choices as ``sampling`` and ``drawing``, but with the
parameters in tensors, so that a CUDA graph can hold them and no step waits for the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.gpu.kernels import Kernels
from adavae.model.gpu.layout import on_device

NOT_FINITE = -1  # instead of a token: the row's logits were not finite


class Choice(IntEnum):
    """Which features a batch's rows need; each choice includes those before it."""

    LIKELIEST = 0
    ANY = 1

    @classmethod
    def of(cls, decoding: Decoding) -> Self:
        is_plain = decoding.strategy is Strategy.GREEDY and decoding.repetition_penalty == 1.0
        return cls.LIKELIEST if is_plain and decoding.min_tokens == 0 else cls.ANY


@dataclass(frozen=True, slots=True)
class RowParameters:
    """How each of R rows chooses its tokens, and which tokens it has.

    Attributes:
        numbers: Temperature, top-p and repetition penalty, (R, 3), float64.
        counts: Top-k, seed, whether tokens are drawn, and the minimum number of tokens, (R, 4), int64.
        has_token: True where a row's text has a token, (R, V), bool; only ``Choice.ANY`` keeps it up to date.
    """

    numbers: Tensor
    counts: Tensor
    has_token: Tensor

    @classmethod
    def greedy(cls, num_rows: int, vocab_size: int, device: torch.device) -> Self:
        return cls(
            torch.ones(num_rows, 3, dtype=torch.float64, device=device),
            torch.zeros(num_rows, 4, dtype=torch.int64, device=device),
            torch.zeros(num_rows, vocab_size, dtype=torch.bool, device=device),
        )

    def first(self, num_rows: int) -> Self:
        return type(self)(self.numbers[:num_rows], self.counts[:num_rows], self.has_token[:num_rows])

    def put(self, rows: slice, decodings: Sequence[Decoding]) -> None:
        """Sets the parameters of new rows."""
        device = self.numbers.device
        numbers = [(each.temperature, each.top_p, each.repetition_penalty) for each in decodings]
        counts = [(each.top_k, each.seed, each.strategy is Strategy.SAMPLE, each.min_tokens) for each in decodings]
        self.numbers[rows] = on_device(numbers, torch.float64, device)
        self.counts[rows] = on_device(counts, torch.int64, device)
        self.has_token[rows] = False

    def move(self, sources: Tensor, targets: Tensor) -> None:
        for table in (self.numbers, self.counts, self.has_token):
            table[targets] = table[sources]


def choose(
    kernels: Kernels, logits: Tensor, parameters: RowParameters, steps: Tensor, choice: Choice, eos_token_id: int
) -> Tensor:
    """The next token of every row.

    Args:
        kernels: The operations to draw with.
        logits: (B, V), float32.
        parameters: Parameters of the B rows.
        steps: Tokens each row has chosen so far, (B,).
        choice: The features that the rows need.
        eos_token_id: End-of-text, which is not chosen before a row's minimum number of tokens.

    Returns:
        (B,), int64; NOT_FINITE where a row's logits have a NaN or +inf, or nothing but -inf.
    """
    largest, likeliest = logits.max(-1)
    is_finite = largest.isfinite()
    if choice is Choice.LIKELIEST:
        return likeliest.where(is_finite, NOT_FINITE)
    temperature, top_p, penalty = parameters.numbers.unsqueeze(2).unbind(1)  # each (B, 1)
    top_k, seed, is_drawn, min_tokens = parameters.counts.unbind(1)
    weight = penalty.float()
    penalised = torch.where(logits > 0, logits / weight, logits * weight)
    logits = torch.where(parameters.has_token, penalised, logits)
    is_end = torch.arange(logits.shape[1], device=logits.device) == eos_token_id
    logits = logits.masked_fill((steps < min_tokens).unsqueeze(1) & is_end, float("-inf"))
    probabilities = (logits / temperature.float()).softmax(-1)
    drawn = kernels.draw(probabilities, top_k, top_p.squeeze(1), uniform_of(seed, steps))
    return torch.where(is_drawn.bool(), drawn, logits.argmax(-1)).where(is_finite, NOT_FINITE)


def uniform_of(seeds: Tensor, steps: Tensor) -> Tensor:
    """``drawing.uniform`` of each row, (B,), float64."""
    mixed = _mixed(_mixed(seeds) ^ steps.long())
    return _shifted(mixed, 11).double() / (1 << 53)


def _mixed(value: Tensor) -> Tensor:
    """SplitMix64's step; int64 wraps as uint64 does, bit for bit."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ _shifted(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shifted(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64)
