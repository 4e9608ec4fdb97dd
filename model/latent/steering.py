"""How a request wants z adjusted and texts chosen. A leaf without torch; ``space`` and ``operations`` carry it out."""

import math
from dataclasses import dataclass, fields

from adavae.model.errors import ConfigError
from adavae.model.given_numbers import number, whole

_MOST_CANDIDATES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """Options of a request; None means the operation's default (``defaults``).

    Attributes:
        refine: How far z is moved back to where real texts lie, 0 to 1; 0 leaves it unchanged.
        truncation: For a walk: how far its inner points are pulled towards the mean of all texts; 0 is not at all. For
            anything else: the share of z's distance from that mean that is kept; 1 is all of it.
        candidates: Texts decoded for each z, of which the best is returned.
        focus: For an analogy that shows a change of label: how much of its direction is that change alone.
    """

    refine: float | None = None
    truncation: float | None = None
    candidates: int | None = None
    focus: float | None = None

    def __post_init__(self) -> None:
        ranges = {"refine": (0.0, 1.0), "truncation": (0.0, 2.0), "focus": (0.0, 1.0)}
        ranges["candidates"] = (1, _MOST_CANDIDATES)
        for name, (low, high) in ranges.items():
            if getattr(self, name) is None:
                continue
            value = (whole if isinstance(low, int) else number)(name, getattr(self, name))
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
            object.__setattr__(self, name, value)

    def or_else(self, default: "Settled") -> "Settled":
        """With defaults for what was left out."""
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
    """Which new texts to draw.

    Attributes:
        label: Label the texts should have; None for any.
        guidance: How strongly the label is followed; None for the default, and without a label.
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
    """Raises ConfigError for a number by which z cannot be multiplied."""
    if not math.isfinite(number(name, value)):
        raise ConfigError(name, value, "must be a finite number")
