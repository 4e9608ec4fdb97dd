"""What each call sends and how its reply is read, written once for both clients.

An exchange is a generator: it yields calls, is sent the reply to each, and returns the result. Who waits for a reply,
and how, is the client's.
"""

import base64
import math
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adavae.model.decoding.decoding import DecodingOptions, counted_seed
from adavae.model.latent import defaults
from adavae.model.latent.direction import DirectionOptions
from adavae.model.latent.map_points import MapMethod, MapPoints
from adavae.model.latent.projections import Neighbours, Plane, Separation
from adavae.model.results import Classified
from adavae.service.client.given import checked_text, checked_texts, text_or_texts
from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.results import AdapterState

_MAX_TEXTS, _MAX_TEXT_BYTES, _MAX_ROWS = 256, 2 * 1024**2, 64  # of one request, as the service is set by default
_MAX_DECODED = 2048  # likewise, each candidate and each try counted

Method = Literal["linear", "spherical"]
Result = TypeVar("Result")


class SteeringOptions(TypedDict, total=False):
    """Where z is led before it is decoded, and of how many texts the best is taken; see ``Steering``; ``focus`` is an
    analogy's alone."""

    refine: float
    truncation: float
    candidates: int
    focus: float


class DrawOptions(SteeringOptions, total=False):
    """Which new texts are drawn."""

    label: str
    guidance: float


USUALLY: SteeringOptions = {}
ANYTHING: DrawOptions = {}
TraverseDirection = DirectionOptions


@dataclass(frozen=True, slots=True)
class Posterior:
    """Posteriors of N texts; mu and logvar are (N, Z), float32."""

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        part: Which fields hold a part of what the caller gave, and where in the whole that part begins.
    """

    path: str
    body: dict[str, object] | None = None
    params: dict[str, str] | None = None
    part: tuple[tuple[str, ...], int] | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    def placed(self, refusal: AdaVAEServiceError) -> AdaVAEServiceError:
        """The refusal, with the place in what the caller gave instead of that in this request."""
        if self.part is None or refusal.param is None or self.part[1] == 0:
            return refusal
        names, start = self.part
        placed = re.compile(rf"\b({'|'.join(map(re.escape, names))})\[(\d+)\]")
        return refusal.renamed(lambda text: placed.sub(lambda found: f"{found[1]}[{int(found[2]) + start}]", text))


Exchange = Generator[Call, Any, Result]


def go_on(exchange: Exchange[Any], reply: Any) -> Call:
    """The next call; raises StopIteration with the result, AdaVAEServiceError for a reply of something else."""
    try:
        return exchange.send(reply)
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        message = f"the reply cannot be read ({type(exc).__name__}: {exc}): is it adavae's service, of this version?"
        raise AdaVAEServiceError(0, "unreadable_reply", message) from exc


def encode(
    texts: str | Sequence[str], adapter: str | None, *, normalize: bool, truncate: bool
) -> Exchange[NDArray[np.float32]]:
    options = {"encoding_format": "base64", "normalize": normalize, "truncate": truncate}
    return _vectors((yield from _in_chunks("/encode", texts, adapter, options)), "mu")


def posterior(texts: str | Sequence[str], adapter: str | None, *, truncate: bool) -> Exchange[Posterior]:
    options = {"encoding_format": "base64", "include": ["logvar"], "truncate": truncate}
    rows = yield from _in_chunks("/encode", texts, adapter, options)
    return Posterior(_vectors(rows, "mu"), _vectors(rows, "logvar"))


def decode(
    z: ArrayLike, adapter: str | None, steering: SteeringOptions, decoding: DecodingOptions
) -> Exchange[list[str]]:
    rows, texts = _rows(z), list[str]()
    at_once = min(_MAX_ROWS, _num_at_once(steering))
    for start in range(0, len(rows) or 1, at_once):
        part = (("z",), start)
        counted = decoding.copy()
        if start:
            counted["seed"] = counted_seed(decoding.get("seed", 0), start)
        reply = yield _decode_call(rows[start : start + at_once], adapter, counted, part=part, **steering)
        texts += _texts(reply)
        adapter = _reference(reply)
    return texts


def sample(num: int, adapter: str | None, draw: DrawOptions, decoding: DecodingOptions) -> Exchange[list[str]]:
    return _texts((yield _call("/decode", adapter, samples=num, decoding=decoding, **draw)))


def interpolate(
    source: str | Sequence[str],
    target: str | Sequence[str],
    steps: int,
    method: Method,
    adapter: str | None,
    steering: SteeringOptions,
    decoding: DecodingOptions,
) -> Exchange[list[str]]:
    """Lists go in as many requests as the service's limits ask for, all to one version."""
    fields: dict[str, Any] = {"steps": steps, "method": method, "decoding": decoding, **steering}
    if isinstance(source, str) or isinstance(target, str):
        fields |= {"source": checked_text(source, "source"), "target": checked_text(target, "target")}
        return _texts((yield _call("/interpolate", adapter, **fields)))
    sources, targets = checked_texts(source, "source"), checked_texts(target, "target")
    if len(sources) != len(targets):
        raise ValueError(f"target has {len(targets)} texts and source {len(sources)}: give one target for each source")
    written: list[str] = []
    both = [first + second for first, second in zip(sources, targets, strict=True)]
    for start, chunk in _chunks(both, _num_at_once(steering, steps)):
        end = start + len(chunk)
        fields |= {"source": sources[start:end], "target": targets[start:end]}
        reply = yield _call("/interpolate", adapter, part=(("source", "target"), start), **fields)
        written += _texts(reply)
        adapter = _reference(reply)
    return written


def analogy(
    a: str | Sequence[str],
    b: str | Sequence[str],
    c: str | Sequence[str],
    scale: float | None,
    samples: int,
    adapter: str | None,
    steering: SteeringOptions,
    decoding: DecodingOptions,
) -> Exchange[list[str]]:
    """A list of c goes in as many requests as the service's limits ask for, all to one version."""
    fields = {
        "a": text_or_texts(a, "a"),
        "b": text_or_texts(b, "b"),
        "samples": samples,
        "decoding": decoding,
        **_known(scale=scale),
        **steering,
    }
    if isinstance(c, str):
        return _texts((yield _call("/analogy", adapter, c=checked_text(c, "c"), **fields)))
    changed: list[str] = []
    for start, chunk in _chunks(checked_texts(c, "c"), _num_at_once(steering, samples)):
        reply = yield _call("/analogy", adapter, part=(("c",), start), c=chunk, **fields)
        changed += _texts(reply)
        adapter = _reference(reply)
    return changed


def variations(
    texts: str | Sequence[str],
    num: int | None,
    distance: float | None,
    adapter: str | None,
    steering: SteeringOptions,
    decoding: DecodingOptions,
) -> Exchange[list[list[str]]]:
    whole = checked_texts([texts] if isinstance(texts, str) else texts, "texts")
    options = {"decoding": decoding, **_known(n=num, distance=distance), **steering}
    found: list[list[str]] = []
    tries = defaults.VARIATION_TRIES * (defaults.NUM_VARIATIONS if num is None else num)
    for start, chunk in _chunks(whole, _num_at_once(steering, tries)):
        reply = yield _call("/variations", adapter, part=(("texts",), start), texts=chunk, **options)
        rows = _data(reply)
        found += [[row["text"] for row in rows if row["source"] == place] for place in range(len(chunk))]
        adapter = _reference(reply)
    return found


def traverse(
    text: str,
    direction: TraverseDirection,
    steps: int | None,
    between: tuple[float, float] | None,
    adapter: str | None,
    steering: SteeringOptions,
    decoding: DecodingOptions,
) -> Exchange[list[str]]:
    options = _known(steps=steps, range=None if between is None else list(between))
    fields: dict[str, Any] = {
        "text": checked_text(text, "text"),
        "direction": _checked_direction(direction),
        "decoding": decoding,
    }
    return _texts((yield _call("/traverse", adapter, **fields, **options, **steering)))


def _checked_direction(direction: TraverseDirection) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int) else text_or_texts(value, f"direction.{name}")
        for name, value in direction.items()
    }


def _known(**fields: object) -> dict[str, Any]:
    """Without what was left out, which is the service's default."""
    return {name: value for name, value in fields.items() if value is not None}


def classify(
    texts: str | Sequence[str], adapter: str | None, *, top_k: int | None, truncate: bool
) -> Exchange[list[Classified]]:
    options = {"truncate": truncate} if top_k is None else {"truncate": truncate, "top_k": top_k}
    rows = yield from _in_chunks("/classify", texts, adapter, options)
    return [Classified(row["label"], {entry["label"]: entry["score"] for entry in row["scores"]}) for row in rows]


def map_texts(
    texts: Sequence[str], adapter: str | None, *, labels: Sequence[str] | None, method: MapMethod, truncate: bool
) -> Exchange[MapPoints]:
    """One request, for a plane is drawn of all texts together."""
    given = _known(
        labels=None if labels is None else checked_texts(labels, "labels"),
        encoding_format="base64" if method == "pca" else None,
    )
    fields = {"texts": checked_texts(texts, "texts"), "method": method, "truncate": truncate, **given}
    return _map_points((yield _call("/map", adapter, **fields)))


def _map_points(reply: Any) -> MapPoints:
    rows, parting = _data(reply), reply["separation"]
    points = np.array([(row["x"], row["y"]) for row in rows], np.float32).reshape(len(rows), 2)
    plane = None
    if reply["basis"] is not None:
        mean, *basis = _unpacked([reply["mean"], *reply["basis"]])
        plane = Plane(points, mean, np.stack(basis), (reply["explained"][0], reply["explained"][1]))
    nearest = np.array([row["nearest"] for row in rows], np.int64)
    distance = np.array([row["distance"] for row in rows], np.float32)
    found = None if parting is None else Separation(parting["accuracy"], parting["majority"], parting["rows"])
    return MapPoints(points, plane, Neighbours(nearest, distance), found)


def adapters() -> Exchange[list[AdapterState]]:
    found: list[AdapterState] = []
    params = {"limit": "1000"}
    while True:
        reply = yield Call("/adapters", params=params)
        found += [_adapter(entry) for entry in reply["data"]]
        if not reply["has_more"]:
            return found
        params["after"] = found[-1].reference


def _adapter(entry: dict[str, Any]) -> AdapterState:
    return AdapterState(
        name=entry["name"],
        version=entry["version"],
        latent_size=entry["latent_size"],
        labels=tuple(entry["labels"]),
        kind=entry["kind"],
        metrics=entry["metrics"],
        backbone_digest=entry["backbone_digest"],
        created_at=entry["created_at"],
        is_bundled=entry["bundled"],
        is_default=entry["default"],
        is_current=entry["current"],
        is_loaded=entry["loaded"],
        problem=entry["problem"],
    )


def _in_chunks(
    path: str, texts: str | Sequence[str], adapter: str | None, options: dict[str, Any]
) -> Exchange[list[dict[str, Any]]]:
    """Every text's row, in order; the version that answered the first request answers the others too."""
    rows: list[dict[str, Any]] = []
    for start, chunk in _chunks(checked_texts([texts] if isinstance(texts, str) else texts, "texts")):
        reply = yield _call(path, adapter, part=(("texts",), start), texts=chunk, **options)
        rows += _data(reply)
        adapter = _reference(reply)
    return rows


def _num_at_once(steering: SteeringOptions, num_answers: int = 1) -> int:
    """How many texts with so many answers each, all their candidates counted, one request may have: at least 1.

    Numbers that cannot be asked for are left to the service to refuse.
    """
    asked = (num_answers, steering.get("candidates"))
    return max(1, _MAX_DECODED // math.prod(number for number in asked if isinstance(number, int) and number > 0))


def _chunks(texts: list[str], at_once: int = _MAX_TEXTS) -> Iterator[tuple[int, list[str]]]:
    """Texts in as few chunks as the service's limits and ``at_once`` allow, each with the number of its first text.

    Of no texts there is one chunk, for the service to refuse.
    """
    start, num_bytes, most = 0, 0, min(_MAX_TEXTS, at_once)
    for end, text in enumerate(texts):
        size = len(text.encode())
        if end > start and (end - start == most or num_bytes + size > _MAX_TEXT_BYTES):
            yield start, texts[start:end]
            start, num_bytes = end, 0
        num_bytes += size
    yield start, texts[start:]


def _call(path: str, adapter: str | None, *, part: tuple[tuple[str, ...], int] | None = None, **fields: object) -> Call:
    return Call(path, fields if adapter is None else fields | {"adapter": adapter}, part=part)


def decode_stream(z: ArrayLike, adapter: str | None, decoding: DecodingOptions) -> Call:
    """The one request of a stream; ``stream_reading`` reads its reply."""
    return _decode_call(_rows(z), adapter, decoding, stream=True)


def _decode_call(
    z: NDArray[np.float32],
    adapter: str | None,
    decoding: DecodingOptions,
    *,
    part: tuple[tuple[str, ...], int] | None = None,
    **options: object,
) -> Call:
    packed = [base64.b64encode(row.tobytes()).decode() for row in z.astype("<f4")]
    return _call("/decode", adapter, part=part, z=packed, decoding=decoding, **options)


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
    """(N, Z)."""
    return _unpacked([row[name] for row in rows])


def _unpacked(vectors: Sequence[str]) -> NDArray[np.float32]:
    """(N, Z), from base64 of little-endian float32."""
    content = b"".join(map(base64.b64decode, vectors))
    return np.frombuffer(content, "<f4").astype(np.float32).reshape(len(vectors), -1)
