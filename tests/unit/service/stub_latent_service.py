"""A latent service without a model: deterministic answers at once, and knobs for what a test wants to happen."""

import asyncio
import zlib
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError
from adavae.model.latent.direction import Direction
from adavae.model.latent.map_points import MapMethod, MapPoints
from adavae.model.latent.projections import neighbours, principal_plane
from adavae.model.latent.steering import ANY, USUAL, Draw, Steering
from adavae.model.results import Classified, DecodedText, InterpolationStep, TraverseStep
from adavae.service.downloads import Download, download_of
from adavae.service.errors import EngineStopped, InvalidRequest, ServiceError
from adavae.service.latent_protocol import LatentVector
from adavae.service.results import (
    AdapterRef,
    AdapterState,
    ClassifiedText,
    ClassifyResult,
    DecodeResult,
    EmbedResult,
    EncodedText,
    EncodeResult,
    Encoding,
    InterpolateResult,
    MapResult,
    TextPiece,
    TraverseResult,
    VariationsResult,
)
from adavae.service.settings import Settings

Z = 32
LONGEST_TEXT = 1000  # characters, in place of tokens
Result = TypeVar("Result")


def stub_settings(**fields: Any) -> Settings:
    """Settings that read nothing from disk."""
    nowhere = Path("/nonexistent/adavae")
    return Settings(**({"weights": nowhere, "data": nowhere, "port": 0} | fields))


def state(name: str, version: str = "0123456789ab", **fields: Any) -> AdapterState:
    whole = AdapterState(
        name=name,
        version=version,
        latent_size=Z,
        labels=(),
        kind="generation",
        metrics={"au": 4.0},
        backbone_digest="ab" * 32,
        created_at="2026-01-02T03:04:05+00:00",
        is_bundled=False,
        is_default=False,
        is_current=True,
        is_loaded=True,
        problem=None,
    )
    return replace(whole, **fields)


def default_states() -> list[AdapterState]:
    return [
        state("broken", is_current=False, is_loaded=False, latent_size=None, problem="manifest: bad digest"),
        state("own", "1111aaaa2222"),
        state("own", "3333aaaa4444", is_current=False),
        state("yelp", labels=("negative", "positive"), is_bundled=True, is_default=True),
        state("yelp-lm", is_bundled=True),
    ]


@dataclass
class StubLatentService:
    """Answers from a hash of what it is asked.

    Attributes:
        error: Raised by every operation in place of an answer.
        fail_after: Pieces of a stream before ``error``; None: before the first.
        hold: Operations wait until it is set.
        problem: Why it is not ready.
        start_error: Raised by ``start``.
        num_copies: How often an archive repeats the set's name.
        unlisted: Installed since the last look: listed when it is asked for by its name.
    """

    states: list[AdapterState] = field(default_factory=default_states)
    error: Exception | None = None
    fail_after: int | None = None
    hold: asyncio.Event | None = None
    problem: str | None = "loading"
    warning: str | None = None
    start_error: Exception | None = None
    num_copies: int = 1
    unlisted: AdapterState | None = None
    num_bytes_sent: int = 0
    num_downloads_closed: int = 0
    start_hold: asyncio.Event | None = None
    num_running: int = 0
    num_ended: int = 0
    is_stopped: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def start(self) -> None:
        if self.start_hold is not None:
            await self.start_hold.wait()
        if self.start_error is not None:
            self.problem = str(self.start_error)
            raise self.start_error
        self.problem = None

    async def stop(self) -> None:
        self.is_stopped = True

    @property
    def not_ready_reason(self) -> str | None:
        return self.problem

    async def why_not_ready(self) -> str | None:
        return self.not_ready_reason

    @property
    def readiness_warning(self) -> str | None:
        return self.warning

    @property
    def is_ready(self) -> bool:
        return self.problem is None

    def versions(self) -> dict[str, str]:
        return {"adavae": "0.1.0", "device": "stub"}

    def adapters(self) -> list[AdapterState]:
        self._check_ready()
        return self.states

    async def adapters_named(self, name: str) -> list[AdapterState]:
        if self.unlisted is not None and name in (self.unlisted.name, self.unlisted.reference):
            self.states, self.unlisted = [*self.states, self.unlisted], None
        return [each for each in self.adapters() if name in (each.name, each.reference)]

    async def adapter_card(self, name: str) -> str:
        return f"# {self._ref(name).name}\n\nA card.\n"

    async def adapter_archive(self, name: str) -> Download:
        whole = download_of(self._ref(name).name.encode() * self.num_copies)
        files = ExitStack()
        files.callback(self._closed)
        return Download(self._counted(whole), whole.num_bytes, files)

    def _counted(self, whole: Download) -> Iterator[bytes]:
        for piece in whole.pieces:
            self.num_bytes_sent += len(piece)
            yield piece

    def _closed(self) -> None:
        self.num_downloads_closed += 1

    async def map_texts(
        self,
        texts: Sequence[str],
        *,
        labels: Sequence[str] | None,
        method: MapMethod,
        adapter: str | None,
        truncate: bool,
    ) -> MapResult:
        self.asked.append({"texts": tuple(texts), "labels": labels, "method": method})
        encoded = await self._work(self._encode(texts, adapter, truncate))
        mu = np.stack([row.encoding.mu for row in encoded.rows])
        plane = principal_plane(mu)
        is_pca = method == "pca"
        drawn = MapPoints(plane.points, plane if is_pca else None, neighbours(mu), None)
        return MapResult(encoded.adapter, encoded.rows, drawn)

    async def import_adapter(self, content: AsyncIterator[bytes], name: str | None) -> AdapterState:
        received = b"".join([piece async for piece in content])
        self.asked.append({"received": received, "name": name})
        if self.error is not None:
            raise self.error
        return self.states[0]

    async def delete_adapter(self, name: str) -> list[AdapterState]:
        named = [each for each in self.states if name in (each.name, f"{each.name}@{each.version}")]
        if any(each.is_bundled for each in named):
            raise ServiceError(409, "bundled", f"{name} is bundled: it stays", param="name")
        self.states = [each for each in self.states if each not in named]
        return named

    async def encode(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> EncodeResult:
        return await self._work(self._encode(texts, adapter, truncate, params))

    async def embed(
        self,
        inputs: Sequence[str | Sequence[int]],
        *,
        adapter: str | None,
        dimensions: int | None,
        params: Sequence[str] | None = None,
    ) -> EmbedResult:
        self.asked.append({"inputs": inputs, "dimensions": dimensions})
        texts = [each if isinstance(each, str) else " ".join(map(str, each)) for each in inputs]
        encoded = await self._work(self._encode(texts, adapter, truncate=False, params=params))
        if dimensions is not None and dimensions > Z:
            raise ConfigError("dimensions", dimensions, f"the set has {Z} dimensions: ask for 1 to {Z}")
        mu = np.stack([row.encoding.mu for row in encoded.rows])[:, :dimensions]
        num_tokens = sum(row.encoding.num_tokens for row in encoded.rows)
        return EmbedResult(encoded.adapter, mu / np.linalg.norm(mu, axis=1, keepdims=True), num_tokens)

    async def decode(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> DecodeResult:
        self.asked.append({"steering": steering})
        return await self._work(self._decode(z, adapter, decodings))

    async def sample(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> DecodeResult:
        self.asked.append({"draw": draw, "steering": steering})
        return await self._work(self._decode([[float(row)] * Z for row in range(num)], adapter, [decoding] * num))

    async def decode_stream(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        self.asked.append({"steering": steering})
        self.num_running += 1
        try:
            if self.error is not None and self.fail_after is None:
                raise self.error
            result = await self._decode(z, adapter, decodings)
            pieces = [TextPiece(index, word) for index, row in enumerate(result.rows) for word in _words(row.text)]
            for number, piece in enumerate(pieces):
                if self.error is not None and number == self.fail_after:
                    raise self.error
                yield piece
                if self.hold is not None:
                    await self.hold.wait()
            yield result
        finally:
            self.num_running -= 1
            self.num_ended += 1

    async def sample_stream(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        self.asked.append({"draw": draw, "steering": steering})
        rows = self.decode_stream([[float(row)] * Z for row in range(num)], adapter=adapter, decodings=[decoding] * num)
        try:
            async for item in rows:
                yield item
        finally:
            await rows.aclose()

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
        self.asked.append({"method": method, "texts": (source, target), "steering": steering})
        sources = [source] if isinstance(source, str) else source
        z = [_mu(text) for text in sources for _ in range(steps)]
        decoded = await self._work(self._decode(z, adapter, [decoding] * len(z)))
        rows = tuple(InterpolationStep(step % steps / (steps - 1), row) for step, row in enumerate(decoded.rows))
        return InterpolateResult(decoded.adapter, rows)

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
        self.asked.append({"texts": (a, b, c), "scale": scale, "steering": steering})
        changed = [c] if isinstance(c, str) else list(c)
        z = [_mu(text) for text in changed for _ in range(samples)]
        return await self._work(self._decode(z, adapter, [decoding] * len(z)))

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
        self.asked.append({"texts": texts, "num": num, "distance": distance, "params": params, "steering": steering})
        z = [_mu(text) for text in texts for _ in range(num)]
        found = await self._work(self._decode(z, adapter, decoding.for_rows(len(z))))
        rows = [found.rows[start : start + num] for start in range(0, len(z), num)]
        return VariationsResult(found.adapter, tuple(rows))

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
        self.asked.append({"texts": (text,), "direction": direction, "between": between, "steering": steering})
        found = await self._work(self._decode([_mu(text)] * steps, adapter, [decoding] * steps))
        return TraverseResult(found.adapter, tuple(TraverseStep(float(at), row) for at, row in enumerate(found.rows)))

    async def classify(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> ClassifyResult:
        return await self._work(self._classify(texts, adapter, truncate, params))

    async def _work(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Counts the operation, waits or fails as the knobs say, then does it."""
        self.num_running += 1
        try:
            if self.error is not None:
                work.close()
                raise self.error
            if self.hold is not None:
                try:
                    await self.hold.wait()
                except asyncio.CancelledError:
                    work.close()
                    raise
            return await work
        finally:
            self.num_running -= 1
            self.num_ended += 1

    async def _encode(
        self, texts: Sequence[str], adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> EncodeResult:
        ref = self._ref(adapter)
        for number, text in enumerate(texts):
            if len(text) > LONGEST_TEXT and not truncate:
                message = f"the text has {len(text)} tokens, the limit is {LONGEST_TEXT}: shorten it"
                raise InvalidRequest(
                    message, param=(params or [f"texts[{number}]"] * len(texts))[number], code="text_too_long"
                )
        rows = [
            Encoding(_mu(text), -_mu(text), len(text.split()), is_truncated=len(text) > LONGEST_TEXT) for text in texts
        ]
        return EncodeResult(ref, tuple(EncodedText(row, is_cached=False) for row in rows))

    async def _decode(
        self,
        z: Sequence[LatentVector | NDArray[np.float32]],
        adapter: str | None,
        decodings: Sequence[Decoding],
    ) -> DecodeResult:
        ref = self._ref(adapter)
        self.asked.append({"decodings": list(decodings)})
        vectors = [_unpacked(row, f"z[{number}]") if isinstance(row, str) else row for number, row in enumerate(z)]
        for number, row in enumerate(vectors):
            if len(row) != Z:
                message = f"z[{number}] has {len(row)} numbers, {ref.name} takes {Z}"
                raise InvalidRequest(message, param=f"z[{number}]", code="invalid_z")
        rows = zip(vectors, decodings, strict=True)
        return DecodeResult(
            ref,
            tuple(
                DecodedText(f"text of {decoding.seed}", 3, "stop", np.asarray(row, dtype=np.float64).astype(np.float32))
                for row, decoding in rows
            ),
        )

    async def _classify(
        self, texts: Sequence[str], adapter: str | None, truncate: bool, params: Sequence[str] | None
    ) -> ClassifyResult:
        encoded = await self._encode(texts, adapter, truncate, params)
        labels = next(each.labels for each in self.states if each.name == encoded.adapter.name)
        if not labels:
            raise AdapterSetMismatch(f"{encoded.adapter.name} has no classification head; sets that have one: yelp")
        verdict = Classified.of(labels, [1 / len(labels)] * len(labels))
        return ClassifyResult(
            encoded.adapter,
            tuple(ClassifiedText(verdict, row.encoding.num_tokens, row.is_cached) for row in encoded.rows),
        )

    def _ref(self, adapter: str | None) -> AdapterRef:
        self._check_ready()
        for each in self.states:
            if adapter in (each.name, f"{each.name}@{each.version}") or (adapter is None and each.is_default):
                return AdapterRef(each.name, each.version)
        raise AdapterSetNotFound(f"no adapter set {adapter!r} is installed: there are yelp, own")

    def _check_ready(self) -> None:
        if self.problem is not None:
            raise EngineStopped(f"{self.problem}: try again in a moment")


def _mu(text: str) -> NDArray[np.float32]:
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=Z).astype(np.float32)


def _words(text: str) -> list[str]:
    return [word if not number else f" {word}" for number, word in enumerate(text.split(" "))]


def _unpacked(row: str, param: str) -> NDArray[np.float32]:
    """From base64 of little-endian float32."""
    try:
        numbers: NDArray[np.float32] = np.frombuffer(b64decode(row, validate=True), "<f4")
    except ValueError:
        raise InvalidRequest(f"{param} is not base64 of float32 numbers", param=param, code="invalid_z") from None
    return numbers
