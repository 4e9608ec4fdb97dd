"""The same client for asyncio: every method of ``AdaVAEClient`` as a coroutine."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self, Unpack

import httpx2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from adavae.model.decoding.decoding import DecodingOptions
from adavae.model.latent import defaults
from adavae.model.latent.map_points import MapMethod, MapPoints
from adavae.model.results import Classified
from adavae.service.client import exchanges
from adavae.service.client.connecting import connection_options
from adavae.service.client.exchanges import (
    ANYTHING,
    USUALLY,
    Call,
    DrawOptions,
    Exchange,
    Method,
    Posterior,
    Result,
    SteeringOptions,
    TraverseDirection,
)
from adavae.service.client.retries import AdaVAEServiceError, Attempts, content_of, refusal_of
from adavae.service.client.stream_reading import StreamReading
from adavae.service.results import AdapterState, TextPiece


class AsyncAdaVAEClient:
    """The service, as coroutines; the methods and what they take are those of ``AdaVAEClient``."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 90.0,
        max_retries: int = 4,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Connects to nothing yet; the arguments are ``AdaVAEClient``'s."""
        self._http = httpx2.AsyncClient(transport=transport, **connection_options(base_url, api_key, timeout_s))
        self._max_retries = max_retries
        self._pause = asyncio.sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def encode(
        self, texts: str | Sequence[str], adapter: str | None = None, *, normalize: bool = False, truncate: bool = False
    ) -> NDArray[np.float32]:
        """mu of each text, (N, Z), all from one version of the adapter set."""
        return await self._run(exchanges.encode(texts, adapter, normalize=normalize, truncate=truncate))

    async def posterior(
        self, texts: str | Sequence[str], adapter: str | None = None, *, truncate: bool = False
    ) -> Posterior:
        """mu and logvar of each text; otherwise as ``encode``."""
        return await self._run(exchanges.posterior(texts, adapter, truncate=truncate))

    async def decode(
        self,
        z: ArrayLike,
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """A text for each row of ``z``, (N, Z) or (Z,); row i draws with ``seed + i``."""
        return await self._run(exchanges.decode(z, adapter, steering, decoding))

    async def decode_stream(
        self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]
    ) -> AsyncGenerator[TextPiece, None]:
        """As ``decode``, in one request and piece by piece; closing the generator frees the rows."""
        reading, attempts = StreamReading(), Attempts(self._max_retries)
        call = exchanges.decode_stream(z, adapter, decoding)
        while not reading.is_done:
            try:
                async with self._http.stream(call.method, call.path, json=call.body) as response:
                    if not response.is_success:
                        await response.aread()
                        raise refusal_of(response)
                    async for event in httpx2.EventSource(response):
                        for piece in reading.pieces(event):
                            yield piece
                reading.check_done()
            except (httpx2.RequestError, AdaVAEServiceError) as exc:
                await self._pause(attempts.pause_s(exc, is_final=reading.has_begun))

    async def sample(
        self, num: int, adapter: str | None = None, *, draw: DrawOptions = ANYTHING, **decoding: Unpack[DecodingOptions]
    ) -> list[str]:
        """``num`` new texts, drawn from where the set's texts lie; ``draw`` may name their label, and more."""
        return await self._run(exchanges.sample(num, adapter, draw, decoding))

    async def interpolate(
        self,
        source: str | Sequence[str],
        target: str | Sequence[str],
        steps: int = defaults.NUM_STEPS,
        method: Method = "linear",
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``steps`` sentences from ``source`` to ``target``, both ends included; of lists one walk after the other."""
        return await self._run(exchanges.interpolate(source, target, steps, method, adapter, steering, decoding))

    async def analogy(
        self,
        a: str | Sequence[str],
        b: str | Sequence[str],
        c: str | Sequence[str],
        scale: float | None = None,
        samples: int = 1,
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """Every ``c`` changed as ``a`` changes into ``b``, ``samples`` times; lists of a and b count by their means."""
        return await self._run(exchanges.analogy(a, b, c, scale, samples, adapter, steering, decoding))

    async def variations(
        self,
        texts: str | Sequence[str],
        num: int | None = None,
        distance: float | None = None,
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[list[str]]:
        """Up to ``num`` different sentences near each text, a list for each."""
        return await self._run(exchanges.variations(texts, num, distance, adapter, steering, decoding))

    async def traverse(
        self,
        text: str,
        direction: TraverseDirection,
        steps: int | None = None,
        between: tuple[float, float] | None = None,
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``steps`` sentences along a direction through ``text``; ``between`` is in lengths of the direction.

        Args:
            text: Where it passes through.
            direction: ``{"dimension": 3}``, or ``{"from": ..., "to": ...}`` with two labels or two lists of texts.
            steps: Sentences; the service's default if left out.
            between: From where to where; the service's default if left out.
            adapter: As for ``encode``.
            steering: Where z is led, and how many candidates there are.
            decoding: How tokens are chosen.
        """
        return await self._run(exchanges.traverse(text, direction, steps, between, adapter, steering, decoding))

    async def classify(
        self,
        texts: str | Sequence[str],
        adapter: str | None = None,
        *,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[Classified]:
        """Each text's label; otherwise as ``encode``."""
        return await self._run(exchanges.classify(texts, adapter, top_k=top_k, truncate=truncate))

    async def map(
        self,
        texts: Sequence[str],
        adapter: str | None = None,
        *,
        labels: Sequence[str] | None = None,
        method: MapMethod = "pca",
        truncate: bool = False,
    ) -> MapPoints:
        """As ``AdaVAEClient.map``."""
        return await self._run(exchanges.map_texts(texts, adapter, labels=labels, method=method, truncate=truncate))

    async def adapters(self) -> list[AdapterState]:
        """Every installed version of every adapter set."""
        return await self._run(exchanges.adapters())

    async def _run(self, exchange: Exchange[Result]) -> Result:
        try:
            call = next(exchange)
            while True:
                try:
                    reply = await self._answer(call)
                except AdaVAEServiceError as refusal:
                    raise call.placed(refusal) from refusal.__cause__
                call = exchanges.go_on(exchange, reply)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _answer(self, call: Call) -> Any:
        attempts = Attempts(self._max_retries)
        while True:
            try:
                return content_of(await self._http.request(call.method, call.path, json=call.body, params=call.params))
            except (httpx2.RequestError, AdaVAEServiceError) as exc:
                await self._pause(attempts.pause_s(exc))
