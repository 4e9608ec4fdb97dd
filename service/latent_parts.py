"""What the operations on texts are built on: cache, backbone, engine, text encoder, adapter sets; started and stopped.

A part is there once ``start`` has come to it; ``latent_service`` answers requests over all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
import torch
from opentelemetry.trace import Tracer

from adavae.model.storage.installed import REFUSALS
from adavae.model.storage.manifest import Manifest
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tensor_shapes import check_shapes
from adavae.service.adapters.registry import AdapterRegistry
from adavae.service.encodings.cache import EncodingCache
from adavae.service.encodings.open_cache import open_cache
from adavae.service.encodings.text_encoder import TextEncoder
from adavae.service.engine.compute_threads import available_threads, use_threads
from adavae.service.engine.engine import Engine
from adavae.service.engine.work import EngineLimits
from adavae.service.loading import load_pretrained, open_store
from adavae.service.metrics import Metrics
from adavae.service.plan_runner import PlanRunner
from adavae.service.settings import Settings

_log = structlog.get_logger("adavae.service")


class LatentParts:
    """The parts of one service; used from one event loop."""

    cache: EncodingCache
    pretrained: PretrainedBackbone
    engine: Engine
    encoder: TextEncoder
    runner: PlanRunner
    registry: AdapterRegistry

    def __init__(self, settings: Settings, metrics: Metrics, tracer: Tracer | None = None) -> None:
        """Opens nothing yet: ``start`` does."""
        self._settings, self._metrics, self._tracer = settings, metrics, tracer
        self._closing: list[Callable[[], Awaitable[None]]] = []  # what ends the parts there are, the oldest first

    async def start(self) -> None:
        """Loads the backbone, finds the adapter sets, starts the engine.

        Raises:
            AdaVAEError: There is no backbone to serve.
            OSError: The disk cannot be read.
        """
        settings = self._settings
        self.cache = open_cache(settings)
        self._closing.append(self.cache.close)
        threads = settings.threads or available_threads()
        use_threads(1)
        self.pretrained = await asyncio.to_thread(load_pretrained, settings.model_copy(update={"threads": 1}), None)
        store = open_store(settings)
        entries = await asyncio.to_thread(store.list)
        manifests = [entry.manifest for entry in entries if entry.manifest and self._fits(entry.manifest)]
        self.engine = Engine(
            self.pretrained,
            [manifest.config for manifest in sorted(manifests, key=self._is_no_default)],
            num_slots=settings.bank_slots,
            max_bank_bytes=settings.bank_bytes,
            limits=EngineLimits(
                encode_batch_tokens=settings.encode_batch_tokens,
                decode_rows=settings.decode_rows,
                max_tokens=self.max_tokens,
                max_queued_rows=settings.max_queued_rows,
                threads=threads,
            ),
            metrics=self._metrics,
            tracer=self._tracer,
        )
        self._open_encoder()
        self._closing.append(self._stop_engine)
        await self.engine.start()
        self.registry = AdapterRegistry(
            store,
            self.engine.bank,
            default=settings.default_adapter,
            backbone_digests=self.pretrained.digests,
            tokenizer_digest=self.pretrained.tokenizer.digest,
            refresh_s=settings.refresh_s,
            counters=self._metrics,
        )
        self._closing.append(self.registry.stop)
        await self.registry.start()
        self._announce(threads)

    async def stop(self) -> None:
        """Finishes what runs, within ``settings.shutdown_s``; safe at any moment."""
        while self._closing:
            await self._closing.pop()()

    @property
    def max_tokens(self) -> int:
        """Longest decoded text: the setting, or less where the backbone's context is shorter."""
        return min(self._settings.max_tokens, self._max_context)

    @property
    def max_text_tokens(self) -> int:
        """Longest text that is read."""
        return min(self._settings.max_text_tokens or self._max_context, self._max_context)

    @property
    def _max_context(self) -> int:
        return self.pretrained.backbone.config.n_positions - 1

    def _open_encoder(self) -> None:
        settings = self._settings
        self.encoder = TextEncoder(
            self.pretrained,
            self.engine,
            self.cache,
            self._metrics,
            max_tokens=self.max_text_tokens,
            max_queued_characters=settings.max_queued_characters,
            deadline_s=settings.deadline_s,
        )
        self._closing.append(self._close_encoder)
        self.runner = PlanRunner(
            self.engine,
            self.encoder,
            self.pretrained.tokenizer,
            max_text_tokens=self._max_context,
            deadline_s=settings.deadline_s,
        )

    async def _close_encoder(self) -> None:
        self.encoder.tokens.close()

    async def _stop_engine(self) -> None:
        await self.engine.stop(self._settings.shutdown_s)

    def _announce(self, threads: int) -> None:
        weight, computes_by = self.pretrained.backbone.wte.weight, self.pretrained.backbone.computes_by
        is_slower = computes_by == "pytorch" and weight.device.type == "cpu" and weight.dtype == torch.float32
        hint = {"hint": "decodes faster on Linux once adavae is installed again beside a C++ compiler (g++)"}
        _log.info(
            "engine started",
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
            threads=threads,
            computes_by=computes_by,
            weight_format=self.pretrained.backbone.weight_format,
            **(hint if is_slower else {}),
        )
        if (misfit := self.registry.default_problem()) is not None:
            _log.warning("requests that name no adapter set will be refused", reason=misfit)

    def _fits(self, manifest: Manifest) -> bool:
        try:
            check_shapes(manifest, self.pretrained.backbone.config)
        except REFUSALS:
            return False
        return manifest.backbone_digest in self.pretrained.digests

    def _is_no_default(self, manifest: Manifest) -> bool:
        return self._settings.default_adapter not in (manifest.name, manifest.reference)
