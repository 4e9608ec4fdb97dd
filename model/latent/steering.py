"""How a request wishes z to be led and its text to be chosen. A leaf without torch; what it leads to is for others."""

import math
from dataclasses import dataclass, fields

from adavae.model.errors import ConfigError

_MOST_CANDIDATES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What may be said beside the texts; what is None is the operation's default (``defaults``).

    Attributes:
        refine: How far z is led back to where real texts lie, 0 to 1; 0 leaves it where it is.
        truncation: Of a walk: how far its middle is drawn towards the middle of all texts, 0 is not at all. Of anything
            else: the share of z's distance from that middle which is kept, 1 is all of it.
        candidates: Texts written for each z, of which the best is returned.
        focus: Of an analogy: the share of its direction that is the change of label it shows, where it shows one.
    """

    refine: float | None = None
    truncation: float | None = None
    candidates: int | None = None
    focus: float | None = None

    def __post_init__(self) -> None:
        ranges = {"refine": (0.0, 1.0), "truncation": (0.0, 2.0), "focus": (0.0, 1.0)}
        ranges["candidates"] = (1, _MOST_CANDIDATES)
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")

    def or_else(self, default: "Settled") -> "Settled":
        """With the defaults for what was left out."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        return Settled(**{name: getattr(default, name) if value is None else value for name, value in chosen.items()})


USUAL = Steering()
"""Nothing said: every default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """As ``Steering``, every value known."""

    refine: float
    truncation: float
    candidates: int
    focus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which new texts are wished.

    Attributes:
        label: They shall have; None for any.
        guidance: How far towards the label; None for the default, and where there is no label.
    """

    label: str | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        if self.guidance is not None:
            check_scale("guidance", self.guidance)
            if self.label is None:
                raise ConfigError("guidance", self.guidance, "has no effect without a label: name one, or leave it out")


ANY = Draw()
"""Of any label."""


def check_scale(name: str, value: float) -> None:
    """Raises ConfigError for a number that z cannot be multiplied with."""
    if not math.isfinite(value):
        raise ConfigError(name, value, "must be a finite number")
