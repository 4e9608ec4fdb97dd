"""What the routes call: requests on texts and latent vectors, answered over registry, cache and engine.

    texts -> adapter set pinned -> text encoder: cache look-up -> engine for the misses -> cache
    z     -> engine -> texts

One adapter set version serves a request from its first row to its last.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from functools import partial
from importlib.metadata import version

import numpy as np
import structlog
import torch
from opentelemetry.trace import Tracer
from torch import Tensor

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import (
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    LogitsNotFinite,
    StorageFull,
    WeightsCorrupted,
)
from adavae.model.latent import defaults
from adavae.model.latent.direction import BetweenTexts, Direction
from adavae.model.latent.embedding import check_dimensions, embedded
from adavae.model.latent.map_points import MapMethod
from adavae.model.latent.steering import ANY, USUAL, Draw, Steering
from adavae.model.operations import distinct, least_change, moves, writing
from adavae.model.operations.steps import ROWS_AT_ONCE, Plan, Result
from adavae.model.results import Classified
from adavae.model.storage.installed import InstalledVersion
from adavae.service.adapters.incoming import received, told_of
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.default_trial import DefaultTrial
from adavae.service.downloads import Download, download_archive
from adavae.service.encodings.text_map import Cartographer
from adavae.service.errors import EngineStopped, InvalidRequest, ServiceError, full_disk, service_error
from adavae.service.latent_inputs import latents_of, texts_of
from adavae.service.latent_parts import LatentParts
from adavae.service.latent_protocol import LatentVector
from adavae.service.metrics import Metrics
from adavae.service.objects.errors import StoreError
from adavae.service.results import (
    AdapterRef,
    AdapterState,
    ClassifiedText,
    ClassifyResult,
    DecodeResult,
    EmbedResult,
    EncodedText,
    EncodeResult,
    InterpolateResult,
    MapResult,
    TextPiece,
    TraverseResult,
    VariationsResult,
)
from adavae.service.served_set import tell_served
from adavae.service.settings import Settings
from adavae.service.tasks import end
from adavae.service.text_stream import TextStream

_TRIED_TEXT, _TRIAL_S = "ready?", 10.0

_log = structlog.get_logger("adavae.service")

_LEAST_AT_ONCE = 16  # rows of one part, of a request that has few


class LatentService:
    """Every operation of the service over one backbone; used from one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, tracer: Tracer | None = None) -> None:
        """Opens nothing yet: ``start`` does."""
        self.settings, self.metrics = settings, metrics
        self._problem: str | None = "the model is being loaded"
        self._parts = LatentParts(settings, metrics, tracer)
        self._cartographer = Cartographer(settings.deadline_s)
        self._default_trial = DefaultTrial(self._try_default)
        self._one_verification = asyncio.Lock()  # each takes the memory of a whole set

    async def start(self) -> None:
        """Loads the backbone, finds the adapter sets, starts the engine.

        Raises:
            AdaVAEError: There is no backbone to serve; ``not_ready_reason`` says so too.
        """
        try:
            await self._parts.start()
        except (AdaVAEError, OSError) as exc:
            self._problem = str(exc)
            raise
        self._problem = None

    async def stop(self) -> None:
        """Finishes what runs, within ``settings.shutdown_s``; safe at any moment."""
        self._problem = self._problem or "the server is shutting down"
        await self._default_trial.stop()
        await self._parts.stop()

    @property
    def not_ready_reason(self) -> str | None:
        """Why requests cannot be answered right now, or None."""
        return self._problem or self._parts.engine.not_ready_reason

    @property
    def is_ready(self) -> bool:
        return self.not_ready_reason is None

    async def why_not_ready(self) -> str | None:
        """As ``not_ready_reason``, the default adapter set tried by a real request.

        Where it is a set that somebody chose and that does not fit, hardly a request would be answered.
        """
        if (reason := self.not_ready_reason) is not None:
            return reason
        if (misfit := self._parts.registry.default_problem()) is not None and self._is_default_chosen:
            return misfit
        return await self._default_trial.problem()

    @property
    def readiness_warning(self) -> str | None:
        """What a service that is ready cannot do: with another backbone, the built-in default set is of no use."""
        if self._problem is not None:
            return None
        return self._parts.registry.blindness() or self._parts.registry.default_problem()

    @property
    def _is_default_chosen(self) -> bool:
        return "default_adapter" in self.settings.model_fields_set

    async def _try_default(self) -> None:
        """Encodes a text with the default adapter set, past the cache; raises what a request would be answered with."""
        async with self._pinned(None) as pinned:
            rows = await self._parts.encoder.tokens.cut([_TRIED_TEXT], self._parts.max_text_tokens)
            await self._parts.engine.encode(rows, [pinned.slot], deadline_s=min(_TRIAL_S, self.settings.deadline_s))

    def versions(self) -> dict[str, str]:
        """Versions and digests, as GET /version shows them."""
        known = {"adavae": version("adavae"), "python": platform.python_version(), "torch": torch.__version__}
        if self._problem is None:
            weight = self._parts.pretrained.backbone.wte.weight
            known |= {
                "backbone": self.settings.backbone,
                "backbone_digest": self._parts.pretrained.digest,
                "tokenizer_digest": self._parts.pretrained.tokenizer.digest,
                "device": str(weight.device),
                "dtype": str(weight.dtype).removeprefix("torch."),
                "computes_by": self._parts.pretrained.backbone.computes_by,
                "weight_format": self._parts.pretrained.backbone.weight_format,
            }
        return known

    async def encode(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> EncodeResult:
        """Posterior of each text; ``params`` is what each is called in an error, ``texts[0]`` and so on if left out.

        Raises:
            AdapterSetNotFound: No such adapter set.
            InvalidRequest: A text is empty, or too long and ``truncate`` is not set.
            ServiceError: Overloaded, not ready, or too late.
        """
        async with self._pinned(adapter) as pinned:
            encoded = await self._parts.encoder.encode(texts, pinned, truncate=truncate, params=params)
            return EncodeResult(_ref(pinned), encoded)

    async def embed(
        self,
        inputs: Sequence[str | Sequence[int]],
        *,
        adapter: str | None,
        dimensions: int | None,
        params: Sequence[str] | None = None,
    ) -> EmbedResult:
        """A vector of length 1 for each text, or for each text's token ids; raises as ``encode``, and for dimensions
        that the set does not have.
        """
        names = [f"input[{number}]" for number in range(len(inputs))] if params is None else params
        async with self._pinned(adapter) as pinned:
            check_dimensions(pinned.space, dimensions)
            texts = await self._texts(inputs, names)
            rows = await self._encode_in_parts(texts, pinned, names, truncate=False)
            mu = torch.from_numpy(np.stack([row.encoding.mu for row in rows]))
            work = partial(embedded, pinned.space, mu, dimensions)  # a set's first one takes milliseconds
            if dimensions is None:
                vectors = work()
            else:
                vectors = await self._parts.engine.on_device(work, self.settings.deadline_s, num_rows=len(mu))
            return EmbedResult(_ref(pinned), vectors.numpy(), sum(row.encoding.num_tokens for row in rows))

    async def decode(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> DecodeResult:
        """A text for each z, (N, Z); raises LatentShapeError as InvalidRequest, otherwise as ``encode``."""
        async with self._pinned(adapter) as pinned:
            plan = writing.decode(pinned.space, latents_of(z, pinned), decodings, steering)
            num_rows, at_once = _rows(len(z), steering.or_else(defaults.DECODE).candidates)
            with _led_by("z"):
                rows = await self._answered(plan, pinned, decodings, num_rows, at_once)
                return DecodeResult(_ref(pinned), tuple(rows))

    async def sample(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> DecodeResult:
        """``num`` texts from the set's prior; z and the i-th text's draws come from the decoding's seed, plus i."""
        async with self._pinned(adapter) as pinned:
            plan = writing.sample(pinned.space, num, decoding, draw, steering)
            num_rows, at_once = _rows(num, steering.or_else(defaults.DRAW).candidates)
            return DecodeResult(_ref(pinned), tuple(await self._answered(plan, pinned, [decoding], num_rows, at_once)))

    async def decode_stream(
        self,
        z: Sequence[LatentVector],
        *,
        adapter: str | None,
        decodings: Sequence[Decoding],
        steering: Steering = USUAL,
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``decode``, piece by piece; the last item is the whole result. Closing the iterator frees the rows."""
        async with self._pinned(adapter) as pinned:
            plan = writing.latents(pinned.space, latents_of(z, pinned), steering)
            with _led_by("z"):
                async with contextlib.aclosing(self._streamed(plan, pinned, decodings)) as pieces:
                    async for piece in pieces:
                        yield piece

    async def sample_stream(
        self, num: int, *, adapter: str | None, decoding: Decoding, draw: Draw = ANY, steering: Steering = USUAL
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """As ``sample``, piece by piece; the last item is the whole result."""
        async with self._pinned(adapter) as pinned:
            plan = writing.drawn(pinned.space, num, decoding.seed, draw, steering)
            async with contextlib.aclosing(self._streamed(plan, pinned, decoding.for_draws(num))) as pieces:
                async for piece in pieces:
                    yield piece

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
        """``steps`` sentences from ``source`` to ``target``, ends included (paper Section 3.4, Table 5)."""
        async with self._pinned(adapter) as pinned:
            plan = moves.interpolate(
                pinned.space, source, target, steps=steps, method=method, decoding=decoding, steering=steering
            )
            num_walks = 1 if isinstance(source, str) else len(source)
            num_rows, at_once = _rows(num_walks * steps, steering.or_else(defaults.WALK).candidates)
            if steering.candidates is None:
                at_once = distinct.rows_at_once(num_walks, steps)
            rows = await self._answered(plan, pinned, [decoding], num_rows, at_once)
            return InterpolateResult(_ref(pinned), tuple(rows))

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
        """Every ``c`` changed as ``a`` changes into ``b`` (paper Table 4), ``samples`` times each."""
        async with self._pinned(adapter) as pinned:
            decodings = decoding.for_rows(samples)
            plan = moves.analogy(pinned.space, a, b, c, scale=scale, decodings=decodings, steering=steering)
            nums = [1 if isinstance(texts, str) else len(texts) for texts in (a, b, c)]
            num_rows, at_once = _rows(nums[-1] * samples, steering.or_else(defaults.ANALOGY).candidates)
            if steering.candidates is None and scale == defaults.SCALE:
                at_once = least_change.rows_at_once(nums[-1], samples)
            with _led_by("scale"):
                rows = await self._answered(plan, pinned, decodings, max(sum(nums), num_rows), at_once)
                return DecodeResult(_ref(pinned), tuple(rows))

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
        """Up to ``num`` different sentences near each text."""
        async with self._pinned(adapter) as pinned:
            plan = moves.variations(
                pinned.space, texts, num=num, distance=distance, decoding=decoding, steering=steering, params=params
            )
            num_rows = len(texts) * num * defaults.VARIATION_TRIES
            found = await self._answered(plan, pinned, [decoding], num_rows, min(ROWS_AT_ONCE, num_rows))
            return VariationsResult(_ref(pinned), tuple(map(tuple, found)))

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
        async with self._pinned(adapter) as pinned:
            plan = moves.traverse(
                pinned.space, text, direction, steps=steps, between=between, decoding=decoding, steering=steering
            )
            num_rows, at_once = _rows(steps, steering.or_else(defaults.TRAVERSE).candidates)
            num_rows = max(1 + _num_texts(direction), num_rows)
            rows = await self._answered(plan, pinned, [decoding], num_rows, at_once)
            return TraverseResult(_ref(pinned), tuple(rows))

    async def classify(
        self, texts: Sequence[str], *, adapter: str | None, truncate: bool, params: Sequence[str] | None = None
    ) -> ClassifyResult:
        """Every label's probability for each text.

        Raises:
            AdapterSetMismatch: The adapter set has no head; names the sets that have one.
        """
        async with self._pinned(adapter) as pinned:
            labels = pinned.config.labels
            if not labels:
                raise AdapterSetMismatch(self._no_head(pinned))
            encoded = await self._parts.encoder.encode(texts, pinned, truncate=truncate, params=params)
            mu = np.stack([row.encoding.mu for row in encoded])
            probabilities = await self._parts.engine.classify(mu, pinned.slot, deadline_s=self.settings.deadline_s)
            rows = tuple(
                ClassifiedText(Classified.of(labels, scores), text.encoding.num_tokens, text.is_cached)
                for text, scores in zip(encoded, probabilities.tolist(), strict=True)
            )
            return ClassifyResult(_ref(pinned), rows)

    def _no_head(self, pinned: PinnedAdapter) -> str:
        with_head = ", ".join(self._parts.registry.names_with_labels()) or "none is installed"
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
            Overloaded: Too many maps of the caller's are on their way.
        """
        params = [f"texts[{number}]" for number in range(len(texts))]
        async with self._pinned(adapter) as pinned:
            with self._cartographer.place(method, len(texts)) as place:
                encoded = await self._encode_in_parts(texts, pinned, params, truncate=truncate)
                mu = np.stack([row.encoding.mu for row in encoded])
                return MapResult(_ref(pinned), tuple(encoded), await place.draw(mu, labels))

    async def _encode_in_parts(
        self, texts: Sequence[str], pinned: PinnedAdapter, params: Sequence[str], *, truncate: bool
    ) -> list[EncodedText]:
        """As many texts at a time as any request may hold, so that others come between."""
        encoded: list[EncodedText] = []
        for part in self._slices(len(texts)):
            encoded += await self._parts.encoder.encode(texts[part], pinned, truncate=truncate, params=params[part])
        return encoded

    async def _texts(self, inputs: Sequence[str | Sequence[int]], params: Sequence[str]) -> list[str]:
        """What token ids say, in parts as ``_encode_in_parts``; they are not read where the engine has no room."""
        given = [each for each in inputs if isinstance(each, str)]
        if len(given) == len(inputs):
            return given
        self._parts.engine.check_room(min(len(inputs), self.settings.max_texts))
        pretrained, most, tokens = self._parts.pretrained, self._parts.max_text_tokens, self._parts.encoder.tokens
        texts: list[str] = []
        for part in self._slices(len(inputs)):
            texts += await texts_of(inputs[part], params[part], pretrained, most, tokens)
        return texts

    def _slices(self, num_texts: int) -> Iterator[slice]:
        """As many texts each as any request may hold."""
        step = self.settings.max_texts
        return (slice(start, start + step) for start in range(0, num_texts, step))

    def adapters(self) -> list[AdapterState]:
        """Every installed version."""
        self._check_ready()
        return self._parts.registry.states()

    async def adapters_named(self, name: str) -> list[AdapterState]:
        """Every version of ``name``, or the one that ``name@version`` is; looks for it where none is known."""
        self._check_ready()
        return await self._parts.registry.states_named(name)

    async def delete_adapter(self, name: str) -> list[AdapterState]:
        """Removes ``name@version``, or every version of ``name``; returns what was there."""
        self._check_ready()
        with _volume_answered():
            return await self._parts.registry.delete(name)

    async def import_adapter(self, content: AsyncIterator[bytes], name: str | None) -> AdapterState:
        """Installs the set whose ``.tar.gz`` comes.

        Raises:
            AdapterSetMismatch: It is for another backbone, or too large.
            ServiceError: 413: too many bytes; 422: it is damaged, or the name may not be; 503: the disk takes no more.
        """
        self._check_ready()
        settings = self.settings
        async with (
            received(content, settings.own_adapters, settings.max_upload_bytes) as archive,
            self._one_verification,
        ):
            try:
                return await self._parts.registry.install(archive, name)
            except AdaVAEError as exc:
                raise told_of(archive, exc) from exc

    async def adapter_card(self, name: str) -> str:
        """The model card; raises AdapterSetNotFound, or WeightsCorrupted where its text is not whole."""
        self._check_ready()
        registry = self._parts.registry
        version = await registry.find(name)
        with _volume_answered(), _told(version):
            return await asyncio.to_thread(registry.store.card_of, version)

    async def adapter_archive(self, name: str) -> Download:
        """The whole set as ``.tar.gz``; raises AdapterSetNotFound, or WeightsCorrupted where it is damaged."""
        self._check_ready()
        registry = self._parts.registry
        version = await registry.find(name)
        async with self._one_verification:
            with _volume_answered(), _told(version):
                members = await asyncio.to_thread(registry.store.verified_files_of, version)
                return await asyncio.to_thread(download_archive, members)

    def _check_ready(self) -> None:
        if self._problem is not None:
            raise EngineStopped(f"{self._problem}: try again in a moment")

    @contextlib.asynccontextmanager
    async def _pinned(self, adapter: str | None) -> AsyncIterator[PinnedAdapter]:
        self._check_ready()
        async with self._parts.registry.acquire(adapter) as pinned:
            tell_served(pinned.name)
            yield pinned

    async def _answered(
        self, plan: Plan[Result], pinned: PinnedAdapter, decodings: Sequence[Decoding], num_rows: int, at_once: int
    ) -> Result:
        """What a plan comes to; refused before its first step where it is too long or the queue is full.

        ``num_rows`` and ``at_once`` are as for ``Engine.reserved``; but for some few rows no more are kept than
        ``num_rows``, since most requests of a kind need none besides, and one client has many under way.
        """
        at_once = min(at_once, max(num_rows, _LEAST_AT_ONCE))
        self._check_decodings(decodings)
        with self._parts.engine.reserved(num_rows, at_once) as reservation:
            return await self._parts.runner.run(plan, pinned, reservation, num_rows=num_rows)

    async def _streamed(
        self, plan: Plan[Tensor], pinned: PinnedAdapter, decodings: Sequence[Decoding]
    ) -> AsyncGenerator[TextPiece | DecodeResult, None]:
        """The texts of the latents that ``plan`` comes to; refused before its first step, as ``_answered``."""
        self._check_decodings(decodings)
        with self._parts.engine.reserved(len(decodings)) as reservation:
            z = await self._parts.runner.run(plan, pinned, reservation, num_rows=len(decodings))
            stream = TextStream(self._parts.pretrained.tokenizer)
            decoding = asyncio.ensure_future(
                self._parts.engine.decode(
                    z.numpy(),
                    pinned.slot,
                    decodings,
                    deadline_s=self.settings.deadline_s,
                    on_token=stream.put_token,
                    reservation=reservation,
                )
            )
            decoding.add_done_callback(lambda _: stream.end())
            try:
                async for piece in stream.pieces():
                    yield piece
                texts = self._parts.runner.texts(await decoding, z)
                for piece in stream.rest():
                    yield piece
                yield DecodeResult(_ref(pinned), tuple(writing.typical(pinned.space, z, texts)))
            finally:
                await end(decoding)

    def _check_decodings(self, decodings: Sequence[Decoding]) -> None:
        longest, limit = max(decoding.max_tokens for decoding in decodings), self._parts.max_tokens
        if longest > limit:
            raise InvalidRequest(
                f"max_tokens is {longest}, the limit is {limit} (ADAVAE_MAX_TOKENS, and the backbone's context): ask "
                "for fewer",
                param="decoding.max_tokens",
            )


@contextlib.contextmanager
def _led_by(param: str) -> Iterator[None]:
    """A z from which the model cannot write is told of by the field that leads there."""
    try:
        yield
    except LogitsNotFinite as exc:
        message = str(exc) if param == "z" else f"{param} leads too far, choose a smaller one: {exc}"
        raise InvalidRequest(message, param=param, code="not_finite") from exc


@contextlib.contextmanager
def _told(version: InstalledVersion) -> Iterator[None]:
    """What is wrong with a set's files, without the server's directories."""
    try:
        yield
    except (AdapterSetNotFound, WeightsCorrupted, AdapterSetMismatch) as exc:
        raise type(exc)(version.told(str(exc))) from exc


@contextlib.contextmanager
def _volume_answered() -> Iterator[None]:
    """What a disk or an object store raises, as 503."""
    try:
        yield
    except StoreError as exc:
        raise exc.answer() from exc
    except StorageFull as exc:
        raise service_error(exc) from exc
    except OSError as exc:
        if (answer := full_disk(exc)) is not None:
            raise answer from exc
        reason = exc.strerror or type(exc).__name__
        message = f"the volume with adapter sets could not be read ({reason}): try again in a moment"
        raise ServiceError(503, "storage_unavailable", message, retry_after_s=5) from exc


def _rows(num_texts: int, candidates: int) -> tuple[int, int]:
    """That are decoded, and that are encoded later at once: of several candidates the best is found by encoding all."""
    num_rows = num_texts * candidates
    return num_rows, num_rows if candidates > 1 else 0


def _num_texts(direction: Direction) -> int:
    """That are encoded for it."""
    return len(direction.source) + len(direction.target) if isinstance(direction, BetweenTexts) else 0


def _ref(pinned: PinnedAdapter) -> AdapterRef:
    return AdapterRef(pinned.name, pinned.version)
