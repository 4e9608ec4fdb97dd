"""What the routes may ask of the service below them: ``service.latent_service`` answers, in tests a stub."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.direction import Direction
from adavae.model.latent.map_points import MapMethod
from adavae.model.latent.steering import ANY, USUAL, Draw, Steering
from adavae.service.downloads import Download
from adavae.service.results import (
    AdapterState,
    ClassifyResult,
    DecodeResult,
    EmbedResult,
    EncodeResult,
    InterpolateResult,
    MapResult,
    TextPiece,
    TraverseResult,
    VariationsResult,
)

LatentVector = Sequence[float] | str
"""Numbers, or base64 of as many in little-endian float32."""


class LatentOperations(Protocol):
    """Every operation on texts and latent vectors.

    All of them raise ``model.errors.AdaVAEError``; a ``service.errors.ServiceError`` among these has a status of its
    own. A cancelled call frees its rows. ``adapter`` None means the configured default.
    """

    async def encode(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> EncodeResult:
        """Posterior of each text; ``params`` is what each is called in an error, ``texts[0]`` and so on if left out."""
        ...

    async def embed(
        self,
        inputs: Sequence[str | Sequence[int]],
        *,
        adapter: str | None,
        dimensions: int | None,
        params: Sequence[str] | None = None,
    ) -> EmbedResult:
        """A vector of length 1 for each text, or for each text's token ids; ``params`` as for ``encode``."""
        ...

    async def decode(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> DecodeResult:
        """A text for each z, (N, Z), as numbers or as base64 of little-endian float32; one decoding a row."""
        ...

    async def sample(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> DecodeResult:
        """Texts of ``num`` draws from the set's prior, seeded by ``decoding.seed``; row i is decoded with seed + i."""
        ...

    def decode_stream(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``decode``, piece by piece and without candidates; the last item is the whole result.

        Closing it frees the rows.
        """
        ...

    def sample_stream(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``sample``, otherwise as ``decode_stream``."""
        ...

    async def interpolate(
        self,
        source: str | Sequence[str],
        target: str | Sequence[str],
        *,
        steps: int,
        method: Interpolation,
        adapter: str | None,
        decoding: Decoding,
        steering: Steering = USUAL,
    ) -> InterpolateResult:
        """``steps`` sentences from ``source`` to ``target``, both ends included; of lists one walk after the other."""
        ...

    async def analogy(
        self,
        a: str | Sequence[str],
        b: str | Sequence[str],
        c: str | Sequence[str],
        *,
        scale: float,
        samples: int,
        adapter: str | None,
        decoding: Decoding,
        steering: Steering = USUAL,
    ) -> DecodeResult:
        """Every ``c`` changed as ``a`` changes into ``b``, ``samples`` times each, with seeds that count up."""
        ...

    async def variations(
        self,
        texts: Sequence[str],
        *,
        num: int,
        distance: float,
        adapter: str | None,
        decoding: Decoding,
        steering: Steering = USUAL,
        params: Sequence[str],
    ) -> VariationsResult:
        """Up to ``num`` different sentences near each text; ``params`` is what each text is called in an error."""
        ...

    async def traverse(
        self,
        text: str,
        direction: Direction,
        *,
        steps: int,
        between: tuple[float, float] | None,
        adapter: str | None,
        decoding: Decoding,
        steering: Steering = USUAL,
    ) -> TraverseResult:
        """``steps`` sentences along a direction through ``text``."""
        ...

    async def classify(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> ClassifyResult:
        """Every label's probability for each text; ``params`` as for ``encode``."""
        ...

    async def map_texts(
        self,
        texts: Sequence[str],
        *,
        labels: Sequence[str] | None,
        method: MapMethod,
        adapter: str | None,
        truncate: bool,
    ) -> MapResult:
        """Each text as a point of a plane; ``labels`` has one a text."""
        ...

    def adapters(self) -> list[AdapterState]:
        """Every installed version of every adapter set."""
        ...

    async def adapters_named(self, name: str) -> list[AdapterState]:
        """Every version of ``name``, or the one that ``name@version`` is; none where there is none, just now looked."""
        ...

    async def adapter_card(self, name: str) -> str:
        """The model card of ``name`` or ``name@version``, Markdown."""
        ...

    async def adapter_archive(self, name: str) -> Download:
        """``name`` or ``name@version`` as one ``.tar.gz``, verified, as ``adavae adapters import`` takes it."""
        ...

    async def import_adapter(self, content: AsyncIterator[bytes], name: str | None) -> AdapterState:
        """Verifies, tries and installs the set whose ``.tar.gz`` comes; ``name`` is what it shall be called."""
        ...

    async def delete_adapter(self, name: str) -> list[AdapterState]:
        """Removes ``name@version``, or every version of ``name``; gives what was removed."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered right now."""
        ...

    async def why_not_ready(self) -> str | None:
        """As ``not_ready_reason``, tried by a real request."""
        ...

    @property
    def readiness_warning(self) -> str | None:
        """What cannot be done though the service is ready, or None."""
        ...

    @property
    def not_ready_reason(self) -> str | None:
        """Why they cannot, or None."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions and digests of what computes."""
        ...

    async def start(self) -> None:
        """Loads what it needs; raises where there is nothing to serve."""
        ...

    async def stop(self) -> None:
        """Finishes what runs; safe at any moment, also while starting."""
        ...
