"""A Python client of the service: texts and numpy arrays in, numpy arrays and texts out.

    with AdaVAEClient("http://127.0.0.1:8000") as client:
        mu = client.encode(["the food was great", "my room was dirty"])  # (2, Z), float32

Every call may be repeated without harm, so passing failures are tried again: refusals that ask for patience (429,
503), and connections that break or stay silent. ``exchanges`` says what is sent and how replies are read, for
this client and for ``async_latent``.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Unpack

import httpx2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from adavae.model.decoding.decoding import DecodingOptions
from adavae.model.latent import defaults
from adavae.model.latent.map_points import MapMethod, MapPoints
from adavae.model.results import Classified
from adavae.service.client import exchanges
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
from adavae.service.client.retries import AdaVAEServiceError, Attempts, HttpClient, refusal_of
from adavae.service.client.stream_reading import StreamReading
from adavae.service.results import AdapterState, TextPiece

__all__ = [
    "AdaVAEClient",
    "AdaVAEServiceError",
    "AdapterState",
    "Classified",
    "DecodingOptions",
    "DrawOptions",
    "MapPoints",
    "Posterior",
    "SteeringOptions",
    "TextPiece",
]


class AdaVAEClient(HttpClient):
    """The service, as methods that wait for its answer. Use it in a ``with``, or call ``close``."""

    def encode(
        self, texts: str | Sequence[str], adapter: str | None = None, *, normalize: bool = False, truncate: bool = False
    ) -> NDArray[np.float32]:
        """mu of each text, (N, Z), all from one version of the adapter set, however many requests that takes.

        Args:
            texts: Any number of them.
            adapter: ``name`` or ``name@version``; the service's default if left out.
            normalize: Scale each mu to length 1.
            truncate: Cut texts that are too long instead of refusing them.

        Raises:
            AdaVAEServiceError: As every call does.
        """
        return self._run(exchanges.encode(texts, adapter, normalize=normalize, truncate=truncate))

    def posterior(self, texts: str | Sequence[str], adapter: str | None = None, *, truncate: bool = False) -> Posterior:
        """mu and logvar of each text; otherwise as ``encode``."""
        return self._run(exchanges.posterior(texts, adapter, truncate=truncate))

    def decode(
        self,
        z: ArrayLike,
        adapter: str | None = None,
        *,
        steering: SteeringOptions = USUALLY,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """A text for each row of ``z``, (N, Z) or (Z,); row i draws with ``seed + i``."""
        return self._run(exchanges.decode(z, adapter, steering, decoding))

    def decode_stream(
        self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]
    ) -> Generator[TextPiece, None, None]:
        """As ``decode``, in one request and piece by piece; closing the generator frees the rows."""
        reading, attempts = StreamReading(), Attempts(self._max_retries)
        call = exchanges.decode_stream(z, adapter, decoding)
        while not reading.is_done:
            try:
                with self._http.stream(call.method, call.path, json=call.body) as response:
                    if not response.is_success:
                        response.read()
                        raise refusal_of(response)
                    for event in httpx2.EventSource(response):
                        yield from reading.pieces(event)
                reading.check_done()
            except (httpx2.RequestError, AdaVAEServiceError) as exc:
                self._pause(attempts.pause_s(exc, is_final=reading.has_begun))

    def sample(
        self, num: int, adapter: str | None = None, *, draw: DrawOptions = ANYTHING, **decoding: Unpack[DecodingOptions]
    ) -> list[str]:
        """``num`` new texts, drawn from where the set's texts lie; ``draw`` may name their label, and more."""
        return self._run(exchanges.sample(num, adapter, draw, decoding))

    def interpolate(
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
        return self._run(exchanges.interpolate(source, target, steps, method, adapter, steering, decoding))

    def analogy(
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
        """Every ``c`` changed as ``a`` changes into ``b``, ``samples`` times; of lists of a and b the means count."""
        return self._run(exchanges.analogy(a, b, c, scale, samples, adapter, steering, decoding))

    def variations(
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
        return self._run(exchanges.variations(texts, num, distance, adapter, steering, decoding))

    def traverse(
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
        return self._run(exchanges.traverse(text, direction, steps, between, adapter, steering, decoding))

    def classify(
        self,
        texts: str | Sequence[str],
        adapter: str | None = None,
        *,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[Classified]:
        """Each text's label; otherwise as ``encode``."""
        return self._run(exchanges.classify(texts, adapter, top_k=top_k, truncate=truncate))

    def map(
        self,
        texts: Sequence[str],
        adapter: str | None = None,
        *,
        labels: Sequence[str] | None = None,
        method: MapMethod = "pca",
        truncate: bool = False,
    ) -> MapPoints:
        """Texts as points of a plane, (N, 2), with each one's nearest neighbour in z and how well labels come apart.

        ``plane.lift(points)`` is z of any point of a map drawn with pca, to be given to ``decode``.

        Args:
            texts: At least three; the service has a limit, 5,000 by default.
            adapter: As for ``encode``.
            labels: One for each text; they do not move the points.
            method: ``pca``, which has a way back, or ``tsne``.
            truncate: As for ``encode``.
        """
        return self._run(exchanges.map_texts(texts, adapter, labels=labels, method=method, truncate=truncate))

    def adapters(self) -> list[AdapterState]:
        """Every installed version of every adapter set."""
        return self._run(exchanges.adapters())

    def _run(self, exchange: Exchange[Result]) -> Result:
        try:
            call = next(exchange)
            while True:
                try:
                    reply = self._reply(call)
                except AdaVAEServiceError as refusal:
                    raise call.placed(refusal) from refusal.__cause__
                call = exchanges.go_on(exchange, reply)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def _reply(self, call: Call) -> Any:
        return self._answer(partial(self._http.request, call.method, call.path, json=call.body, params=call.params))
