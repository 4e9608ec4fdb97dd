"""How the tokens of one row are chosen: strategy and parameters, checked. A leaf without torch."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal, Self, TypedDict, Unpack

from adavae.model.errors import ConfigError
from adavae.model.given_numbers import number, whole


class Strategy(StrEnum):
    GREEDY = "greedy"
    SAMPLE = "sample"
    BEAM = "beam"


# Parameters that only one strategy reads: setting one with another strategy is refused, because it has no effect.
ONLY_WITH = {
    "temperature": Strategy.SAMPLE,
    "top_k": Strategy.SAMPLE,
    "top_p": Strategy.SAMPLE,
    "num_beams": Strategy.BEAM,
}
_DRAWING_OFF = {"strategy": Strategy.GREEDY, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


class DecodingOptions(TypedDict, total=False):
    """Keyword arguments that choose a ``Decoding``; what is left out has its default."""

    strategy: Literal["greedy", "sample", "beam"]
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    max_tokens: int
    num_beams: int
    seed: int


NUM_SEEDS = 2**63
"""Seeds are from 0 to this, less one."""


def check_seed(seed: int) -> None:
    """Raises ConfigError where ``seed`` is none."""
    if not 0 <= whole("seed", seed) < NUM_SEEDS:
        raise ConfigError("seed", seed, f"must be from 0 to {NUM_SEEDS - 1}")


def counted_seed(seed: int, row: int) -> int:
    """The seed of a row, counted from a request's own; after the last seed comes 0."""
    return (seed + row) % NUM_SEEDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one row's tokens are chosen.

    Attributes:
        strategy: Greedy takes the likeliest token, sample draws one, beam keeps ``num_beams`` texts.
        temperature: Divides the logits before drawing; 0 is the limit of that, greedy, whatever else drawing takes.
        top_k: Draw among the k likeliest tokens; 0 is off.
        top_p: Draw among the likeliest tokens that together have this probability; 1 is off.
        repetition_penalty: Divides positive and multiplies negative logits of tokens the row has already; 1 is off.
        max_tokens: Longest text, end-of-text not counted.
        min_tokens: End-of-text is not chosen before this many tokens.
        num_beams: Texts kept at every step of a beam search.
        seed: Seed of every draw.
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
        if self.temperature == 0 and self.strategy is not Strategy.BEAM:
            for name, value in _DRAWING_OFF.items():
                object.__setattr__(self, name, value)
        rules = {
            "temperature": (0.01, 10.0),
            "top_k": (0, 1_000_000),
            "top_p": (0.01, 1.0),
            "repetition_penalty": (1.0, 10.0),
            "max_tokens": (1, 100_000),
            "min_tokens": (0, self.max_tokens),
            "num_beams": (1, 16),
            "seed": (0, NUM_SEEDS - 1),
        }
        for name, (low, high) in rules.items():
            value = (whole if isinstance(low, int) else number)(name, getattr(self, name))
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, **options: Unpack[DecodingOptions]) -> Self:
        """From keyword arguments, the strategy by its name.

        Raises:
            ConfigError: A value is out of range, or has no effect with the strategy.
        """
        values: dict[str, Any] = {"strategy": Strategy.GREEDY, **options}
        if values["strategy"] not in list(Strategy):
            raise ConfigError("strategy", values["strategy"], f"must be one of {list(map(str, Strategy))}")
        decoding = cls(**values | {"strategy": Strategy(values["strategy"])})
        for field in fields(cls):
            needed = ONLY_WITH.get(field.name, decoding.strategy)
            value = getattr(decoding, field.name)
            if needed is not decoding.strategy and value != field.default:
                rule = f"has no effect with strategy {decoding.strategy}: set strategy to {needed}, or leave it out"
                raise ConfigError(field.name, value, rule)
        return decoding

    def for_rows(self, num: int, *, start: int = 0) -> "list[Decoding]":
        """One decoding per row, the same but for the seed, which counts up from ``start`` (``counted_seed``)."""
        return [replace(self, seed=counted_seed(self.seed, row)) for row in range(start, start + num)]

    def for_draws(self, num: int) -> "list[Decoding]":
        """As ``for_rows``, but never an empty text: a draw has at least one token."""
        return replace(self, min_tokens=max(1, self.min_tokens)).for_rows(num)
