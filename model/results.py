"""Results of decoding and classifying, shared by the library and the service. A leaf without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no equality of one answer
class DecodedText:
    """One decoded latent vector.

    Attributes:
        z: The latent vector that was to be decoded, (Z,), float32.
        typicality: Share of real texts at least as far from the mean as z; None where the set has no prior.
    """

    text: str
    num_tokens: int
    finish_reason: Literal["stop", "length"]
    z: NDArray[np.float32]
    typicality: float | None = None


@dataclass(frozen=True, slots=True)
class InterpolationStep:
    """One sentence on the way from source (tau 0) to target (tau 1)."""

    tau: float
    decoded: DecodedText


@dataclass(frozen=True, slots=True)
class TraverseStep:
    """One sentence along a direction, at a distance of ``at`` times its length from the text."""

    at: float
    decoded: DecodedText


@dataclass(frozen=True, slots=True)
class Classified:
    """A text's most probable label, and the labels' probabilities, highest first."""

    label: str
    scores: dict[str, float]

    @classmethod
    def of(cls, labels: Sequence[str], probabilities: Sequence[float]) -> Self:
        """From one probability per label; of equal ones, the earlier label comes first."""
        scores = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
        return cls(scores[0][0], dict(scores))
