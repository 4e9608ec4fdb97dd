"""What the service computes, before it becomes JSON: frozen results that routes shape into replies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adavae.model.latent.map_points import MapPoints
from adavae.model.results import Classified, DecodedText, InterpolationStep, TraverseStep


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """The adapter set and version that made a reply."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text's posterior; what the cache keeps.

    Attributes:
        mu: (Z,), float32.
        logvar: (Z,), float32.
        num_tokens: Tokens that were read.
        is_truncated: Whether the text was cut to the limit.
    """

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]
    num_tokens: int
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class EncodedText:
    """An encoding, and whether it came from the cache."""

    encoding: Encoding
    is_cached: bool


@dataclass(frozen=True, slots=True)
class EncodeResult:
    adapter: AdapterRef
    rows: tuple[EncodedText, ...]

    @property
    def latent_size(self) -> int:
        return len(self.rows[0].encoding.mu)


@dataclass(frozen=True, slots=True, eq=False)
class EmbedResult:
    """Embeddings of length 1.

    Attributes:
        adapter: What made them.
        vectors: (N, D), float32.
        num_tokens: That were read.
    """

    adapter: AdapterRef
    vectors: NDArray[np.float32]
    num_tokens: int


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """Decoded rows; analogy's and decode's answer."""

    adapter: AdapterRef
    rows: tuple[DecodedText, ...]


@dataclass(frozen=True, slots=True)
class InterpolateResult:
    adapter: AdapterRef
    rows: tuple[InterpolationStep, ...]


@dataclass(frozen=True, slots=True)
class VariationsResult:
    """Different sentences near each text, in the texts' order."""

    adapter: AdapterRef
    rows: tuple[tuple[DecodedText, ...], ...]


@dataclass(frozen=True, slots=True)
class TraverseResult:
    adapter: AdapterRef
    rows: tuple[TraverseStep, ...]


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """A verdict, how many tokens were read for it, and whether the encoding came from the cache."""

    classified: Classified
    num_tokens: int
    is_cached: bool


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    adapter: AdapterRef
    rows: tuple[ClassifiedText, ...]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text that one row of a stream grew by."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class AdapterState:
    """One installed version as GET /adapters shows it.

    Attributes:
        is_default: Whether requests that name no adapter set get this one.
        is_current: Whether ``name`` alone means this version.
        is_loaded: Whether its weights are in the bank.
        kind: The preset it was trained with.
        metrics: Measured figures from its manifest.
        problem: Why it is refused, or None.
    """

    name: str
    version: str
    latent_size: int | None
    labels: tuple[str, ...]
    kind: str | None
    metrics: dict[str, float]
    backbone_digest: str | None
    created_at: str | None
    is_bundled: bool
    is_default: bool
    is_current: bool
    is_loaded: bool
    problem: str | None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class MapResult:
    adapter: AdapterRef
    rows: tuple[EncodedText, ...]
    drawn: MapPoints
