"""What the routes call: requests on texts and latent vectors, answered over registry, cache and engine.

    texts -> adapter set pinned -> text encoder: cache look-up -> engine for the misses -> cache
    z     -> engine -> texts

One adapter set version serves a request from its first row to its last.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from adavae.model import latent_ops
from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.decoding.step_decoder import Generated
from adavae.model.errors import AdapterSetMismatch, AdaVAEError
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.service.adapters.registry import AdapterRegistry, PinnedAdapter
from adavae.service.encodings.cache import EncodingCache
from adavae.service.encodings.open_cache import open_cache
from adavae.service.encodings.text_encoder import TextEncoder
from adavae.service.encodings.text_map import Cartographer
from adavae.service.engine.compute_threads import available_threads, use_threads
from adavae.service.engine.engine import Engine, Room
from adavae.service.engine.scheduler import EngineLimits
from adavae.service.errors import EngineStopped, InvalidRequest
from adavae.service.loading import load_pretrained, open_store
from adavae.service.metrics import Metrics
from adavae.service.results import (
    AdapterRef,
    AdapterState,
    ClassifiedText,
    ClassifyResult,
    DecodedText,
    DecodeResult,
    EncodedText,
    EncodeResult,
    InterpolateResult,
    MapMethod,
    MapResult,
    TextPiece,
)
from adavae.service.settings import Settings
from adavae.service.text_stream import TextStream

_log = structlog.get_logger("adavae.service")


class LatentService:
    """Every operation of the service over one backbone; used from one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Opens nothing yet: ``start`` does."""
        self.settings, self.metrics = settings, metrics
        self._problem: str | None = "the model is being loaded"
        self._engine: Engine
        self._pretrained: PretrainedBackbone
        self._registry: AdapterRegistry
        self._cache: EncodingCache
        self._encoder: TextEncoder
        self._cartographer = Cartographer(settings.deadline_s)

    async def start(self) -> None:
        """Loads the backbone, finds the adapter sets, starts the engine.

        Raises:
            AdaVAEError: There is no backbone to serve; ``not_ready_reason`` says so too.
        """
        try:
            await self._start()
        except (AdaVAEError, OSError) as exc:
            self._problem = str(exc)
            raise

    async def _start(self) -> None:
        settings = self.settings
        self._cache = open_cache(settings)
        threads = settings.threads or available_threads()
        use_threads(1)
        self._pretrained = await asyncio.to_thread(load_pretrained, settings.model_copy(update={"threads": 1}), None)
        store = open_store(settings)
        entries = await asyncio.to_thread(store.list)
        limits = EngineLimits(
            encode_batch_tokens=settings.encode_batch_tokens,
            decode_rows=settings.decode_rows,
            max_tokens=self.max_tokens,
            max_queued_rows=settings.max_queued_rows,
            threads=threads,
        )
        self._engine = Engine(
            self._pretrained,
            [entry.manifest.config for entry in entries if entry.manifest and self._fits(entry.manifest)],
            num_slots=settings.bank_slots,
            limits=limits,
            metrics=self.metrics,
        )
        await self._engine.start()
        self._encoder = TextEncoder(
            self._pretrained,
            self._engine,
            self._cache,
            self.metrics,
            max_tokens=self.max_text_tokens,
            deadline_s=settings.deadline_s,
        )
        self._registry = AdapterRegistry(
            store,
            self._engine,
            default=settings.default_adapter,
            backbone_digest=self._pretrained.digest,
            tokenizer_digest=self._pretrained.tokenizer.digest,
            refresh_s=settings.refresh_s,
            counters=self.metrics,
        )
        await self._registry.start()
        self._problem = None
        self._announce(threads)

    def _announce(self, threads: int) -> None:
        weight, computes_by = self._pretrained.backbone.wte.weight, self._pretrained.backbone.computes_by
        is_slower = computes_by == "pytorch" and weight.device.type == "cpu" and weight.dtype == torch.float32
        hint = {"hint": "decodes faster on x86-64 once adavae is installed again beside a C++ compiler (g++)"}
        _log.info(
            "engine started",
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
            threads=threads,
            computes_by=computes_by,
            **(hint if is_slower else {}),
        )

    def _fits(self, manifest: Any) -> bool:
        return bool(manifest.backbone_digest == self._pretrained.digest)

    async def stop(self) -> None:
        """Finishes what runs, within ``settings.shutdown_s``; safe at any moment."""
        self._problem = self._problem or "the server is shutting down"
        if hasattr(self, "_registry"):
            await self._registry.stop()
        if hasattr(self, "_engine"):
            await self._engine.stop(self.settings.shutdown_s)
        if hasattr(self, "_cache"):
            await self._cache.close()

    @property
    def not_ready_reason(self) -> str | None:
        """Why requests cannot be answered right now, or None."""
        return self._problem or self._engine.not_ready_reason

    @property
    def is_ready(self) -> bool:
        return self.not_ready_reason is None

    def versions(self) -> dict[str, str]:
        """Versions and digests, as GET /version shows them."""
        known = {"adavae": version("adavae"), "python": platform.python_version(), "torch": torch.__version__}
        if self._problem is None:
            weight = self._pretrained.backbone.wte.weight
            known |= {
                "backbone": self.settings.backbone,
                "backbone_digest": self._pretrained.digest,
                "tokenizer_digest": self._pretrained.tokenizer.digest,
                "device": str(weight.device),
                "dtype": str(weight.dtype).removeprefix("torch."),
                "computes_by": self._pretrained.backbone.computes_by,
            }
        return known

    @property
    def max_tokens(self) -> int:
        """Longest decoded text: the setting, or less where the backbone's context is shorter."""
        return min(self.settings.max_tokens, self._pretrained.backbone.config.n_positions - 1)

    @property
    def max_text_tokens(self) -> int:
        """Longest text that is read."""
        context = self._pretrained.backbone.config.n_positions - 1
        return min(self.settings.max_text_tokens or context, context)

    async def encode(self, texts: Sequence[str], *, adapter: str | None, truncate: bool) -> EncodeResult:
        """Posterior of each text.

        Raises:
            AdapterSetNotFound: No such adapter set.
            InvalidRequest: A text is empty, or too long and ``truncate`` is not set.
            ServiceError: Overloaded, not ready, or too late.
        """
        async with self._pinned(adapter) as pinned:
            return EncodeResult(_ref(pinned), await self._encoder.encode(texts, pinned, truncate=truncate))

    async def decode(
        self, z: Sequence[Sequence[float]], *, adapter: str | None, decodings: Sequence[Decoding]
    ) -> DecodeResult:
        """A text for each z, (N, Z); raises LatentShapeError as InvalidRequest, otherwise as ``encode``."""
        async with self._pinned(adapter) as pinned:
            latents = _latents(z, pinned)
            return DecodeResult(_ref(pinned), await self._decoded(latents, pinned, decodings))

    async def sample(self, num: int, *, adapter: str | None, decoding: Decoding) -> DecodeResult:
        """``num`` texts from the fitted prior; z and the i-th text's draws come from the decoding's seed, plus i."""
        async with self._pinned(adapter) as pinned:
            with self._engine.room_for(num) as room:
                latents = _from_prior(num, pinned, decoding.seed)
                rows = await self._decoded(latents, pinned, _seeded(decoding, num), room)
            return DecodeResult(_ref(pinned), rows)

    async def decode_stream(
        self, z: Sequence[Sequence[float]], *, adapter: str | None, decodings: Sequence[Decoding]
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``decode``, piece by piece; the last item is the whole result. Closing the iterator frees the rows."""
        async with self._pinned(adapter) as pinned:
            latents = _latents(z, pinned)
            async with contextlib.aclosing(self._streamed(latents, pinned, decodings)) as pieces:
                async for piece in pieces:
                    yield piece

    async def sample_stream(
        self, num: int, *, adapter: str | None, decoding: Decoding
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``sample``, piece by piece; the last item is the whole result."""
        async with self._pinned(adapter) as pinned:
            latents = _from_prior(num, pinned, decoding.seed)
            async with contextlib.aclosing(self._streamed(latents, pinned, _seeded(decoding, num))) as pieces:
                async for piece in pieces:
                    yield piece

    async def interpolate(
        self,
        source: str,
        target: str,
        *,
        steps: int,
        method: Interpolation,
        adapter: str | None,
        decoding: Decoding,
    ) -> InterpolateResult:
        """``steps`` sentences from ``source`` to ``target``, ends included (paper Section 3.4, Table 5)."""
        async with self._pinned(adapter) as pinned:
            with self._engine.room_for(steps) as room:
                params = ("source", "target")
                ends = await self._encoder.encode([source, target], pinned, truncate=False, params=params, room=room)
                first, last = (torch.from_numpy(end.encoding.mu.copy()) for end in ends)
                latents = latent_ops.interpolate(first, last, steps, method).numpy()
                rows = await self._decoded(latents, pinned, [decoding] * steps, room)
            return InterpolateResult(_ref(pinned), tuple(latent_ops.taus(steps).tolist()), rows)

    async def analogy(
        self, a: str, b: str, c: str, *, scale: float, samples: int, adapter: str | None, decoding: Decoding
    ) -> DecodeResult:
        """``c`` changed as ``a`` changes into ``b`` (paper Table 4), ``samples`` times with seeds that count up."""
        async with self._pinned(adapter) as pinned:
            with self._engine.room_for(max(samples, 3)) as room:
                encoded = await self._encoder.encode(
                    [a, b, c], pinned, truncate=False, params=("a", "b", "c"), room=room
                )
                mu_a, mu_b, mu_c = (torch.from_numpy(row.encoding.mu.copy()) for row in encoded)
                z = latent_ops.analogy(mu_a, mu_b, mu_c, scale).numpy()
                rows = await self._decoded(np.stack([z] * samples), pinned, _seeded(decoding, samples), room)
            return DecodeResult(_ref(pinned), rows)

    async def classify(self, texts: Sequence[str], *, adapter: str | None, truncate: bool) -> ClassifyResult:
        """Every label's probability for each text.

        Raises:
            AdapterSetMismatch: The adapter set has no head; names the sets that have one.
        """
        async with self._pinned(adapter) as pinned:
            labels = pinned.config.labels
            if not labels:
                raise AdapterSetMismatch(self._no_head(pinned))
            encoded = await self._encoder.encode(texts, pinned, truncate=truncate)
            mu = np.stack([row.encoding.mu for row in encoded])
            probabilities = await self._engine.classify(mu, pinned.slot, deadline_s=self.settings.deadline_s)
            rows = zip(encoded, probabilities.tolist(), strict=True)
            return ClassifyResult(_ref(pinned), tuple(_classified(row, own, labels) for row, own in rows))

    def _no_head(self, pinned: PinnedAdapter) -> str:
        with_head = ", ".join(self._registry.names_with_labels()) or "none is installed"
        return f"{pinned.reference} has no classification head; adapter sets that have one: {with_head}"

    async def map_texts(
        self,
        texts: Sequence[str],
        *,
        labels: Sequence[str] | None,
        method: MapMethod,
        adapter: str | None,
        truncate: bool,
    ) -> MapResult:
        """Each text as a point of a plane, (N, 2); texts are encoded some at a time, so that others come between.

        Raises:
            ConfigError: Fewer than three texts.
        """
        async with self._pinned(adapter) as pinned:
            encoded: list[EncodedText] = []
            for start in range(0, len(texts), self.settings.max_texts):
                chosen = texts[start : start + self.settings.max_texts]
                params = [f"texts[{number}]" for number in range(start, start + len(chosen))]
                encoded += await self._encoder.encode(chosen, pinned, truncate=truncate, params=params)
            mu = np.stack([row.encoding.mu for row in encoded])
            return MapResult(_ref(pinned), tuple(encoded), await self._cartographer.draw(mu, labels, method))

    def adapters(self) -> list[AdapterState]:
        """Every installed version."""
        self._check_ready()
        return self._registry.states()

    async def delete_adapter(self, name: str) -> list[AdapterState]:
        """Removes ``name@version``, or every version of ``name``; returns what was there."""
        self._check_ready()
        return await self._registry.delete(name)

    async def adapter_card(self, name: str) -> str:
        """The model card; raises AdapterSetNotFound, or WeightsCorrupted where its text is not whole."""
        self._check_ready()
        return await asyncio.to_thread(self._registry.store.card, name)

    async def adapter_archive(self, name: str) -> bytes:
        """The whole set as ``.tar.gz``; raises AdapterSetNotFound, or WeightsCorrupted where it is damaged."""
        self._check_ready()
        return await asyncio.to_thread(self._registry.store.archive, name)

    def _check_ready(self) -> None:
        if self._problem is not None:
            raise EngineStopped(f"{self._problem}: try again in a moment")

    @contextlib.asynccontextmanager
    async def _pinned(self, adapter: str | None) -> AsyncIterator[PinnedAdapter]:
        self._check_ready()
        async with self._registry.acquire(adapter) as pinned:
            yield pinned

    async def _decoded(
        self, z: NDArray[np.float32], pinned: PinnedAdapter, decodings: Sequence[Decoding], room: Room | None = None
    ) -> tuple[DecodedText, ...]:
        self._check_decodings(decodings)
        deadline_s = self.settings.deadline_s
        generated = await self._engine.decode(z, pinned.slot, decodings, deadline_s=deadline_s, room=room)
        return self._texts(generated, z)

    async def _streamed(
        self, z: NDArray[np.float32], pinned: PinnedAdapter, decodings: Sequence[Decoding]
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        self._check_decodings(decodings)
        stream = TextStream(self._pretrained.tokenizer)
        decoding = asyncio.ensure_future(
            self._engine.decode(
                z, pinned.slot, decodings, deadline_s=self.settings.deadline_s, on_token=stream.put_token
            )
        )
        decoding.add_done_callback(lambda _: stream.end())
        try:
            async for piece in stream.pieces():
                yield piece
            generated = await decoding
            for piece in stream.rest():
                yield piece
            yield DecodeResult(_ref(pinned), self._texts(generated, z))
        finally:
            decoding.cancel()
            with contextlib.suppress(asyncio.CancelledError, AdaVAEError):
                await decoding

    def _texts(self, generated: Sequence[Generated], z: NDArray[np.float32]) -> tuple[DecodedText, ...]:
        decode = self._pretrained.tokenizer.decode
        return tuple(
            DecodedText(decode(row.token_ids), len(row.token_ids), row.finish_reason, own)
            for row, own in zip(generated, z, strict=True)
        )

    def _check_decodings(self, decodings: Sequence[Decoding]) -> None:
        longest = max(decoding.max_tokens for decoding in decodings)
        if longest > self.max_tokens:
            raise InvalidRequest(
                f"max_tokens is {longest}, the limit is {self.max_tokens} (ADAVAE_MAX_TOKENS, and the backbone's "
                "context): ask for fewer",
                param="decoding.max_tokens",
            )


def _ref(pinned: PinnedAdapter) -> AdapterRef:
    return AdapterRef(pinned.name, pinned.version)


def _seeded(decoding: Decoding, num: int) -> list[Decoding]:
    """The same decoding with seeds that count up, round the end of their range."""
    return [replace(decoding, seed=(decoding.seed + number) % 2**63) for number in range(num)]


def _from_prior(num: int, pinned: PinnedAdapter, seed: int) -> NDArray[np.float32]:
    latents: NDArray[np.float32] = pinned.manifest.prior.sample(num, seed).numpy()
    return latents


def _latents(z: Sequence[Sequence[float]], pinned: PinnedAdapter) -> NDArray[np.float32]:
    """(N, Z), float32; raises InvalidRequest for another size or numbers that float32 does not hold."""
    Z = pinned.config.latent_size
    for number, row in enumerate(z):
        if len(row) != Z:
            raise InvalidRequest(
                f"z[{number}] has {len(row)} numbers, {pinned.reference} takes {Z}",
                param=f"z[{number}]",
                code="invalid_z",
            )
    with np.errstate(over="ignore"):
        latents = np.asarray(z, dtype=np.float32)
    if not np.isfinite(latents).all():
        raise InvalidRequest("z holds numbers that are not finite in float32", param="z", code="invalid_z")
    return latents


def _classified(row: EncodedText, probabilities: list[float], labels: Sequence[str]) -> ClassifiedText:
    scores = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return ClassifiedText(tuple(scores), row.encoding.num_tokens, row.is_cached)
