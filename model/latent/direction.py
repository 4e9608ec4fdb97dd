"""Which way a traversal goes, as a request names it. A leaf without torch; the vectors are for ``directions``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dimension:
    """Along one number of z."""

    index: int


@dataclass(frozen=True, slots=True)
class BetweenLabels:
    """From the mean of one label's texts to that of another's."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class BetweenTexts:
    """From the mean of some texts to that of others."""

    source: tuple[str, ...]
    target: tuple[str, ...]


Direction = Dimension | BetweenLabels | BetweenTexts
