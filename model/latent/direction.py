"""The direction of a traversal, as a request names it. A leaf without torch; ``directions`` computes the vectors."""

from dataclasses import dataclass


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
    """From the mean of some texts to that of others."""

    source: tuple[str, ...]
    target: tuple[str, ...]


Direction = Dimension | BetweenLabels | BetweenTexts
