"""Texts to encodings: from the cache where it has them, from the engine where not."""

from collections.abc import Sequence

from adavae.model.config import WeightFormat
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.caller import CALLER
from adavae.service.encodings.cache import EncodingCache, encoding_key
from adavae.service.encodings.single_flight import SingleFlight
from adavae.service.encodings.text_tokens import TextTokens
from adavae.service.engine.engine import Engine
from adavae.service.engine.reservation import Reservation
from adavae.service.metrics import Metrics
from adavae.service.results import EncodedText, Encoding


class TextEncoder:
    """Encodes texts of many requests and adapter sets; used from one event loop."""

    def __init__(
        self,
        pretrained: PretrainedBackbone,
        engine: Engine,
        cache: EncodingCache,
        metrics: Metrics,
        *,
        max_tokens: int,
        max_queued_characters: int,
        deadline_s: float,
    ) -> None:
        """``max_tokens`` is the longest text that is read; after ``deadline_s`` a request is given up."""
        self._backbone = computed_by(pretrained)
        self.tokens = TextTokens(
            pretrained.tokenizer, max_tokens=max_tokens, max_queued_characters=max_queued_characters
        )
        self._engine, self._cache, self._metrics = engine, cache, metrics
        self._max_tokens, self._deadline_s = max_tokens, deadline_s
        self._single_flight = SingleFlight()
        self._num_cache_errors = 0

    async def encode(
        self,
        texts: Sequence[str],
        pinned: PinnedAdapter,
        *,
        truncate: bool,
        params: Sequence[str] | None = None,
        reservation: Reservation | None = None,
    ) -> tuple[EncodedText, ...]:
        """The posterior of each text, cleaned; identical texts of a client that are in flight are encoded once.

        Args:
            texts: At least one.
            pinned: Their adapter set.
            truncate: Whether a text that is too long is cut, or refused.
            params: What each text is called in an error; ``texts[0]`` and so on if left out.
            reservation: Of a request that was admitted before.

        Raises:
            InvalidRequest: A text is empty, or too long.
            ServiceError: Overloaded, not ready, or too late.
        """
        bounded = self.tokens.bounded
        texts = [bounded(text, _param(number, params), truncate=truncate) for number, text in enumerate(texts)]
        keys = [self._key(text, pinned, truncate=truncate) for text in texts]
        cached = await self._look_up(keys)
        missing = {key: text for key, text, found in zip(keys, texts, cached, strict=True) if found is None}
        numbers = {text: number for number, text in reversed(list(enumerate(texts)))}

        async def compute(led: list[str]) -> list[Encoding]:
            chosen = [missing[key] for key in led]
            names = [_param(numbers[text], params) for text in chosen]
            encodings = await self._compute(chosen, pinned, truncate=truncate, params=names, reservation=reservation)
            await self._cache.put_many(dict(zip(led, encodings, strict=True)))
            return encodings

        computed: dict[str, Encoding] = {}
        if missing:
            order, sizes = list(missing), {key: len(text) for key, text in missing.items()}
            gathered = await self._single_flight.gather(order, compute, client=CALLER.get(), sizes=sizes)
            computed = dict(zip(order, gathered, strict=True))
        return tuple(
            EncodedText(found, is_cached=True) if found is not None else EncodedText(computed[key], is_cached=False)
            for key, found in zip(keys, cached, strict=True)
        )

    async def _look_up(self, keys: Sequence[str]) -> list[Encoding | None]:
        """One look-up for the whole request, counted."""
        cached = await self._cache.get_many(keys)
        num_hits = sum(found is not None for found in cached)
        self._metrics.cache_hits_total.inc(num_hits)
        self._metrics.cache_misses_total.inc(len(keys) - num_hits)
        num_errors = self._cache.counts.errors
        self._metrics.cache_errors_total.inc(num_errors - self._num_cache_errors)
        self._num_cache_errors = num_errors
        return cached

    def _key(self, text: str, pinned: PinnedAdapter, *, truncate: bool) -> str:
        return encoding_key(
            backbone_digest=self._backbone,
            adapter_digest=pinned.digest,
            max_tokens=self._max_tokens,
            is_truncating=truncate,
            text=text,
        )

    async def _compute(
        self,
        texts: Sequence[str],
        pinned: PinnedAdapter,
        *,
        truncate: bool,
        params: Sequence[str],
        reservation: Reservation | None,
    ) -> list[Encoding]:
        if reservation is None:  # the engine looks again: others may have come while a long text is tokenized
            self._engine.check_room(len(texts))
        limit = self._max_tokens
        rows = await (self.tokens.cut(texts, limit + 1) if truncate else self.tokens.fitting(texts, params))
        cut = [row[:limit] for row in rows]
        deadline_s = self._deadline_s
        encoded = await self._engine.encode(
            cut, [pinned.slot] * len(cut), deadline_s=deadline_s, reservation=reservation
        )
        return [
            Encoding(posterior.mu, posterior.logvar, len(row), is_truncated=len(whole) > len(row))
            for posterior, row, whole in zip(encoded, cut, rows, strict=True)
        ]


def _param(number: int, params: Sequence[str] | None) -> str:
    return params[number] if params is not None else f"texts[{number}]"


def computed_by(pretrained: PretrainedBackbone) -> str:
    """All of a backbone that encodings depend on, for the cache: its digest, its dtype, and int8 weights."""
    backbone = pretrained.backbone
    dtype = f"{pretrained.digest}/{backbone.wte.weight.dtype}"
    return dtype if backbone.weight_format is WeightFormat.FLOAT16 else f"{dtype}/{backbone.weight_format}"
