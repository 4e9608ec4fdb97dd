"""A Python client of the service: texts and numpy arrays in, numpy arrays and texts out.

    with AdaVAEClient("http://127.0.0.1:8000") as client:
        mu = client.encode(["the food was great", "my room was dirty"])  # (2, Z), float32

Every call may be repeated without harm, so what fails for the moment is: refusals that ask for patience (429, 503), and
connections that break or stay silent. What is sent and how replies are read is written once, as generators that yield
calls and are sent replies; the two clients differ in how they wait.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

import httpx2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from adavae.service.client.retries import AdaVAEServiceError, Attempts, HttpClient, content_of, headers_of, refusal_of

__all__ = [
    "AdaVAEClient",
    "AdaVAEServiceError",
    "Adapter",
    "AsyncAdaVAEClient",
    "Classified",
    "DecodingOptions",
    "Piece",
    "Posterior",
]

_MAX_TEXTS, _MAX_TEXT_BYTES, _MAX_ROWS = 256, 2 * 1024**2, 64  # of one request, as the service is set by default
_LARGEST_SEED = 2**63 - 1

Method = Literal["linear", "spherical"]
_Result = TypeVar("_Result")


class DecodingOptions(TypedDict, total=False):
    """How tokens are chosen; what is left out is the service's default (greedy)."""

    strategy: Literal["greedy", "sample", "beam"]
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    max_tokens: int
    num_beams: int
    seed: int


@dataclass(frozen=True, slots=True)
class Posterior:
    """Posteriors of N texts; mu and logvar are (N, Z), float32."""

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that row ``index`` of a stream grew by."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Classified:
    """A text's most probable label, and the probabilities of all that were asked for, highest first."""

    label: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One installed version of an adapter set.

    Attributes:
        is_default: Whether requests that name no adapter set get this one.
        is_current: Whether the name alone means this version.
        problem: Why the service refuses it, or None.
    """

    name: str
    version: str
    latent_size: int | None
    labels: tuple[str, ...]
    metrics: dict[str, float]
    is_default: bool
    is_current: bool
    problem: str | None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


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
        return self._run(_encode(texts, adapter, normalize=normalize, truncate=truncate))

    def posterior(self, texts: str | Sequence[str], adapter: str | None = None, *, truncate: bool = False) -> Posterior:
        """mu and logvar of each text; otherwise as ``encode``."""
        return self._run(_posterior(texts, adapter, truncate=truncate))

    def decode(self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]) -> list[str]:
        """A text for each row of ``z``, (N, Z) or (Z,); row i draws with ``seed + i``."""
        return self._run(_decode(z, adapter, decoding))

    def decode_stream(
        self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]
    ) -> Generator[Piece, None, None]:
        """As ``decode``, in one request and piece by piece; closing the generator frees the rows."""
        reading, attempts = _StreamReading(), Attempts(self._max_retries)
        call = _decode_call(_rows(z), adapter, decoding, stream=True)
        while not reading.is_done:
            try:
                with self._http.stream(call.method, call.path, json=call.body) as response:
                    if not response.is_success:
                        response.read()
                        raise refusal_of(response)
                    for event in httpx2.EventSource(response):
                        yield from reading.pieces(event)
                reading.check_done()
            except (httpx2.TransportError, AdaVAEServiceError) as exc:
                self._pause(attempts.pause_s(exc, is_final=reading.has_begun))

    def sample(self, num: int, adapter: str | None = None, **decoding: Unpack[DecodingOptions]) -> list[str]:
        """``num`` new texts, drawn from where the set's texts lie."""
        return self._run(_sample(num, adapter, decoding))

    def interpolate(
        self,
        source: str,
        target: str,
        steps: int = 5,
        method: Method = "linear",
        adapter: str | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``steps`` sentences from ``source`` to ``target``, both ends included."""
        return self._run(_interpolate(source, target, steps, method, adapter, decoding))

    def analogy(
        self,
        a: str,
        b: str,
        c: str,
        scale: float = 1.0,
        samples: int = 1,
        adapter: str | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``c`` changed as ``a`` changes into ``b``, ``samples`` times."""
        return self._run(_analogy(a, b, c, scale, samples, adapter, decoding))

    def classify(
        self,
        texts: str | Sequence[str],
        adapter: str | None = None,
        *,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[Classified]:
        """Each text's label; otherwise as ``encode``."""
        return self._run(_classify(texts, adapter, top_k=top_k, truncate=truncate))

    def adapters(self) -> list[Adapter]:
        """Every installed version of every adapter set."""
        return self._run(_adapters())

    def _run(self, exchange: "_Exchange[_Result]") -> _Result:
        try:
            call = next(exchange)
            while True:
                call = exchange.send(self._reply(call))
        except StopIteration as stop:
            result: _Result = stop.value
            return result

    def _reply(self, call: "_Call") -> Any:
        return self._answer(partial(self._http.request, call.method, call.path, json=call.body, params=call.params))


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
        headers = headers_of(api_key)
        self._http = httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=timeout_s, transport=transport)
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
        return await self._run(_encode(texts, adapter, normalize=normalize, truncate=truncate))

    async def posterior(
        self, texts: str | Sequence[str], adapter: str | None = None, *, truncate: bool = False
    ) -> Posterior:
        """mu and logvar of each text; otherwise as ``encode``."""
        return await self._run(_posterior(texts, adapter, truncate=truncate))

    async def decode(self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]) -> list[str]:
        """A text for each row of ``z``, (N, Z) or (Z,); row i draws with ``seed + i``."""
        return await self._run(_decode(z, adapter, decoding))

    async def decode_stream(
        self, z: ArrayLike, adapter: str | None = None, **decoding: Unpack[DecodingOptions]
    ) -> AsyncGenerator[Piece, None]:
        """As ``decode``, in one request and piece by piece; closing the generator frees the rows."""
        reading, attempts = _StreamReading(), Attempts(self._max_retries)
        call = _decode_call(_rows(z), adapter, decoding, stream=True)
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
            except (httpx2.TransportError, AdaVAEServiceError) as exc:
                await self._pause(attempts.pause_s(exc, is_final=reading.has_begun))

    async def sample(self, num: int, adapter: str | None = None, **decoding: Unpack[DecodingOptions]) -> list[str]:
        """``num`` new texts, drawn from where the set's texts lie."""
        return await self._run(_sample(num, adapter, decoding))

    async def interpolate(
        self,
        source: str,
        target: str,
        steps: int = 5,
        method: Method = "linear",
        adapter: str | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``steps`` sentences from ``source`` to ``target``, both ends included."""
        return await self._run(_interpolate(source, target, steps, method, adapter, decoding))

    async def analogy(
        self,
        a: str,
        b: str,
        c: str,
        scale: float = 1.0,
        samples: int = 1,
        adapter: str | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[str]:
        """``c`` changed as ``a`` changes into ``b``, ``samples`` times."""
        return await self._run(_analogy(a, b, c, scale, samples, adapter, decoding))

    async def classify(
        self,
        texts: str | Sequence[str],
        adapter: str | None = None,
        *,
        top_k: int | None = None,
        truncate: bool = False,
    ) -> list[Classified]:
        """Each text's label; otherwise as ``encode``."""
        return await self._run(_classify(texts, adapter, top_k=top_k, truncate=truncate))

    async def adapters(self) -> list[Adapter]:
        """Every installed version of every adapter set."""
        return await self._run(_adapters())

    async def _run(self, exchange: "_Exchange[_Result]") -> _Result:
        try:
            call = next(exchange)
            while True:
                call = exchange.send(await self._answer(call))
        except StopIteration as stop:
            result: _Result = stop.value
            return result

    async def _answer(self, call: "_Call") -> Any:
        attempts = Attempts(self._max_retries)
        while True:
            try:
                return content_of(await self._http.request(call.method, call.path, json=call.body, params=call.params))
            except (httpx2.TransportError, AdaVAEServiceError) as exc:
                await self._pause(attempts.pause_s(exc))


@dataclass(frozen=True, slots=True)
class _Call:
    """One request."""

    path: str
    body: dict[str, object] | None = None
    params: dict[str, str] | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


_Exchange = Generator[_Call, Any, _Result]


def _encode(
    texts: str | Sequence[str], adapter: str | None, *, normalize: bool, truncate: bool
) -> _Exchange[NDArray[np.float32]]:
    options = {"encoding_format": "base64", "normalize": normalize, "truncate": truncate}
    return _vectors((yield from _in_chunks("/encode", texts, adapter, options)), "mu")


def _posterior(texts: str | Sequence[str], adapter: str | None, *, truncate: bool) -> _Exchange[Posterior]:
    options = {"encoding_format": "base64", "include": ["logvar"], "truncate": truncate}
    rows = yield from _in_chunks("/encode", texts, adapter, options)
    return Posterior(_vectors(rows, "mu"), _vectors(rows, "logvar"))


def _decode(z: ArrayLike, adapter: str | None, decoding: DecodingOptions) -> _Exchange[list[str]]:
    rows, texts = _rows(z), list[str]()
    for start in range(0, len(rows) or 1, _MAX_ROWS):
        own = decoding.copy()
        if start:
            own["seed"] = (own.get("seed", 0) + start) & _LARGEST_SEED
        reply = yield _decode_call(rows[start : start + _MAX_ROWS], adapter, own)
        texts += _texts(reply)
        adapter = _reference(reply)
    return texts


def _sample(num: int, adapter: str | None, decoding: DecodingOptions) -> _Exchange[list[str]]:
    return _texts((yield _call("/decode", adapter, samples=num, decoding=decoding)))


def _interpolate(
    source: str, target: str, steps: int, method: Method, adapter: str | None, decoding: DecodingOptions
) -> _Exchange[list[str]]:
    call = _call("/interpolate", adapter, source=source, target=target, steps=steps, method=method, decoding=decoding)
    return _texts((yield call))


def _analogy(
    a: str, b: str, c: str, scale: float, samples: int, adapter: str | None, decoding: DecodingOptions
) -> _Exchange[list[str]]:
    return _texts((yield _call("/analogy", adapter, a=a, b=b, c=c, scale=scale, samples=samples, decoding=decoding)))


def _classify(
    texts: str | Sequence[str], adapter: str | None, *, top_k: int | None, truncate: bool
) -> _Exchange[list[Classified]]:
    options = {"truncate": truncate} if top_k is None else {"truncate": truncate, "top_k": top_k}
    rows = yield from _in_chunks("/classify", texts, adapter, options)
    return [Classified(row["label"], {own["label"]: own["score"] for own in row["scores"]}) for row in rows]


def _adapters() -> _Exchange[list[Adapter]]:
    found: list[Adapter] = []
    params = {"limit": "1000"}
    while True:
        reply = yield _Call("/adapters", params=params)
        found += [_adapter(entry) for entry in reply["data"]]
        if not reply["has_more"]:
            return found
        params["after"] = found[-1].reference


def _adapter(entry: dict[str, Any]) -> Adapter:
    return Adapter(
        name=entry["name"],
        version=entry["version"],
        latent_size=entry["latent_size"],
        labels=tuple(entry["labels"]),
        metrics=entry["metrics"],
        is_default=entry["default"],
        is_current=entry["current"],
        problem=entry["problem"],
    )


def _in_chunks(
    path: str, texts: str | Sequence[str], adapter: str | None, options: dict[str, Any]
) -> _Exchange[list[dict[str, Any]]]:
    """Every text's row, in order; the version that answered the first request answers the others too."""
    rows: list[dict[str, Any]] = []
    for chunk in _chunks([texts] if isinstance(texts, str) else list(texts)):
        reply = yield _call(path, adapter, texts=chunk, **options)
        rows += _data(reply)
        adapter = _reference(reply)
    return rows


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    """As few requests as the service's limits allow; no text at all is one, for the service to refuse."""
    chunk, num_bytes = list[str](), 0
    for text in texts:
        size = len(text.encode(errors="surrogatepass"))
        if chunk and (len(chunk) == _MAX_TEXTS or num_bytes + size > _MAX_TEXT_BYTES):
            yield chunk
            chunk, num_bytes = [], 0
        chunk.append(text)
        num_bytes += size
    yield chunk


def _call(path: str, adapter: str | None, **fields: object) -> _Call:
    return _Call(path, fields if adapter is None else fields | {"adapter": adapter})


def _decode_call(
    z: NDArray[np.float32], adapter: str | None, decoding: DecodingOptions, *, stream: bool = False
) -> _Call:
    return _call("/decode", adapter, z=z.tolist(), decoding=decoding, stream=stream)


def _rows(z: ArrayLike) -> NDArray[np.float32]:
    """(N, Z), float32."""
    rows = np.atleast_2d(np.asarray(z, dtype=np.float32))
    if rows.ndim != 2:
        raise ValueError(f"z has shape {rows.shape}: give one vector (Z,), or several (N, Z)")
    if not np.isfinite(rows).all():
        raise ValueError("z holds NaN or infinite numbers: every number must be finite")
    return rows


def _data(reply: Any) -> list[dict[str, Any]]:
    return sorted(reply["data"], key=lambda row: int(row["index"]))


def _texts(reply: Any) -> list[str]:
    return [row["text"] for row in _data(reply)]


def _reference(reply: Any) -> str:
    return f"{reply['adapter']['name']}@{reply['adapter']['version']}"


def _vectors(rows: Sequence[dict[str, Any]], name: str) -> NDArray[np.float32]:
    """(N, Z), from base64 of little-endian float32."""
    content = b"".join(base64.b64decode(row[name]) for row in rows)
    return np.frombuffer(content, "<f4").astype(np.float32).reshape(len(rows), -1)


class _StreamReading:
    """A stream of events, read so far.

    Attributes:
        has_begun: A piece was given out: starting over would repeat it.
        is_done: The service said that this was all.
    """

    def __init__(self) -> None:
        self.has_begun = self.is_done = False

    def pieces(self, event: httpx2.ServerSentEvent) -> Iterator[Piece]:
        """What an event adds to the text; the whole reply at the end adds nothing."""
        if event.data == "[DONE]":
            self.is_done = True
            return
        content: Any = event.json()
        if event.event == "error":
            error = content["error"]
            self.has_begun = True
            raise AdaVAEServiceError(0, error["code"], error["message"], error["param"])
        if "text" in content:
            self.has_begun = True
            yield Piece(content["index"], content["text"])

    def check_done(self) -> None:
        """Raises AdaVAEServiceError where the stream ended before the service said so."""
        if not self.is_done:
            raise AdaVAEServiceError(0, "stream_cut", "the stream ended before the text did: try again")
