"""Choosing the next token of every row: greedy, or sampled with temperature, top-k, top-p and a repetition penalty.

What a row gets depends on its own logits, text, parameters, seed and step alone, never on the batch it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from model.drawing import draw
from model.errors import ConfigError


class Strategy(StrEnum):
    GREEDY = "greedy"
    SAMPLE = "sample"
    BEAM = "beam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one row's tokens are chosen.

    Attributes:
        strategy: Greedy takes the likeliest token, sample draws one, beam keeps ``num_beams`` texts.
        temperature: Divides the logits before drawing.
        top_k: Draw among the k likeliest tokens; 0 is off.
        top_p: Draw among the likeliest tokens that together hold this probability; 1 is off.
        repetition_penalty: Divides positive and multiplies negative logits of tokens the row has already; 1 is off.
        max_tokens: Longest text, end-of-text not counted.
        min_tokens: End-of-text is not chosen before so many tokens.
        num_beams: Texts kept at every step of a beam search.
        seed: Of every draw.
    """

    strategy: Strategy = Strategy.GREEDY
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_tokens: int = 48
    min_tokens: int = 0
    num_beams: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.strategy, Strategy):
            raise ConfigError("strategy", self.strategy, f"must be one of {list(map(str, Strategy))}, as a Strategy")
        rules = {
            "temperature": (0.01, 10.0),
            "top_k": (0, 1_000_000),
            "top_p": (0.01, 1.0),
            "repetition_penalty": (1.0, 10.0),
            "max_tokens": (1, 100_000),
            "min_tokens": (0, self.max_tokens),
            "num_beams": (1, 16),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in rules.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
            if isinstance(low, int) and not isinstance(value, int):
                raise ConfigError(name, value, "must be a whole number")


def next_tokens(
    logits: Tensor, decodings: Sequence[Decoding], has_token: Tensor | None, step: int | Sequence[int]
) -> Tensor:
    """The next token of every row, greedy or sampled as its own decoding says.

    Args:
        logits: (B, V).
        decodings: One a row.
        has_token: True where a row's text holds a token already, (B, V); None where no row has a penalty.
        step: How many tokens each row has chosen before, part of its draw's seed; one number where all have as many.

    Returns:
        (B,), int64.
    """
    logits = penalised(logits.float(), decodings, has_token)
    chosen = _likeliest(logits)
    sampled = [row for row, decoding in enumerate(decodings) if decoding.strategy is Strategy.SAMPLE]
    if not sampled:
        return chosen
    rows = torch.tensor(sampled, device=logits.device)
    steps = [step if isinstance(step, int) else step[row] for row in sampled]
    own = [decodings[row] for row in sampled]
    temperature = logits.new_tensor([decoding.temperature for decoding in own]).unsqueeze(1)
    chosen[rows] = draw((logits[rows] / temperature).softmax(-1), own, steps)
    return chosen


def end_held_off(logits: Tensor, decodings: Sequence[Decoding], steps: Sequence[int], eos_token_id: int) -> Tensor:
    """Logits that do not let a row end before its ``min_tokens``, (B, V); ``steps`` as in ``next_tokens``."""
    rows = [row for row, decoding in enumerate(decodings) if steps[row] < decoding.min_tokens]
    if not rows:
        return logits
    held = logits.clone()
    held[rows, eos_token_id] = float("-inf")
    return held


def _likeliest(logits: Tensor) -> Tensor:
    """The first of the largest logits of each row, (B,), int64."""
    if logits.device.type == "cpu":  # numpy's argmax is vectorised, torch's is twenty times slower here
        return torch.from_numpy(logits.detach().numpy().argmax(-1))
    return logits.argmax(-1)


def penalised(logits: Tensor, decodings: Sequence[Decoding], has_token: Tensor | None) -> Tensor:
    """Logits with each row's repetition penalty applied (Keskar et al. 2019), (B, V)."""
    if has_token is None:
        return logits
    penalty = logits.new_tensor([decoding.repetition_penalty for decoding in decodings]).unsqueeze(1)
    return torch.where(has_token, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
