"""What comes of decoding and classifying, for the library, the service and its clients alike. A leaf without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DecodedText:
    """One decoded latent vector; z is (Z,), float32."""

    text: str
    num_tokens: int
    finish_reason: Literal["stop", "length"]
    z: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InterpolationStep:
    """One sentence on the way from source (tau 0) to target (tau 1)."""

    tau: float
    decoded: DecodedText


@dataclass(frozen=True, slots=True)
class Classified:
    """A text's most probable label, and the labels' probabilities, highest first."""

    label: str
    scores: dict[str, float]

    @classmethod
    def of(cls, labels: Sequence[str], probabilities: Sequence[float]) -> Self:
        """Of one probability a label; among equal ones the earlier label comes first."""
        scores = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
        return cls(scores[0][0], dict(scores))
