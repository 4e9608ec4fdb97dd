"""The direction of a traversal, as a request names it. A leaf without torch; ``directions`` computes the vectors."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

from adavae.model.errors import ConfigError
from adavae.model.given_numbers import whole
from adavae.model.given_texts import several_texts


@dataclass(frozen=True, slots=True)
class Dimension:
    """Along one dimension of z."""

    index: int


@dataclass(frozen=True, slots=True)
class BetweenLabels:
    """From the mean of one label's texts to that of another label's."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class BetweenTexts:
    """From the mean of some texts to that of others; raises ConfigError where there are none."""

    source: tuple[str, ...]
    target: tuple[str, ...]

    def __post_init__(self) -> None:
        check_texts("direction.from", self.source)
        check_texts("direction.to", self.target)


Direction = Dimension | BetweenLabels | BetweenTexts

DirectionOptions = Mapping[str, int] | Mapping[str, str] | Mapping[str, Sequence[str]]
"""``{"dimension": 3}``, or ``{"from": ..., "to": ...}`` with two labels or two lists of texts."""


def direction_of(options: DirectionOptions) -> Direction:
    """The direction that the options name.

    Raises:
        ConfigError: They are none of the three forms, or a list of texts is empty, or half of a character.
    """
    rule = 'must be {"dimension": number}, or {"from": ..., "to": ...} with two labels or two lists of texts'
    if not isinstance(options, Mapping):
        raise ConfigError("direction", options, rule)
    if set(options) == {"dimension"}:
        with suppress(ConfigError):
            if (index := whole("dimension", options["dimension"])) >= 0:
                return Dimension(index)
    elif set(options) == {"from", "to"}:
        source, target = options["from"], options["to"]
        if isinstance(source, str) and isinstance(target, str):
            return BetweenLabels(source, target)
        if _are_texts(source) and _are_texts(target):
            return BetweenTexts(
                tuple(several_texts("direction.from", source)), tuple(several_texts("direction.to", target))
            )
    raise ConfigError("direction", options, rule)


def check_texts(param: str, texts: Sequence[str]) -> None:
    """Raises ConfigError where there is none: their mean would be NaN."""
    if not texts:
        raise ConfigError(param, list(texts), "must have at least 1 text")


def _are_texts(given: object) -> TypeGuard[Sequence[str]]:
    return isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(text, str) for text in given)
