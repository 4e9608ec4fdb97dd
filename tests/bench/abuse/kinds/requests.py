"""Requests that are malformed: every operation, with one thing about it changed to something nobody expects."""

import copy
import json
import random
from collections.abc import Generator, Mapping
from typing import Any

import httpx2

from tests.bench.abuse import odd
from tests.bench.abuse.stage import FILES, JOBS, Stage
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, refused

_TEXT, _OTHER = "the food was great", "my room was bad"
_JSON = "application/json"
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/encode": {"texts": [_TEXT, _OTHER], "normalize": True, "include": ["logvar"], "encoding_format": "float"},
    "/classify": {"text": _TEXT, "top_k": 1, "adapter": "prefixed"},
    "/decode": {"samples": 2, "truncation": 0.5, "candidates": 1, "decoding": {"strategy": "sample", "seed": 1}},
    "/interpolate": {"source": _TEXT, "target": _OTHER, "steps": 3, "method": "linear", "refine": 0.1},
    "/analogy": {"a": _TEXT, "b": [_OTHER], "c": [_TEXT, _OTHER], "scale": 1.0, "samples": 1, "focus": 0.0},
    "/variations": {"text": _TEXT, "n": 2, "distance": 0.5, "decoding": {"strategy": "beam", "num_beams": 2}},
    "/traverse": {"text": _TEXT, "direction": {"dimension": 0}, "steps": 3, "range": [-1.0, 1.0]},
    "/map": {"texts": [_TEXT, _OTHER, "fine"], "labels": ["a", "b", "a"], "method": "pca"},
    JOBS: {
        "model": "bundled",
        "training_file": "file-" + "0" * 24,
        "suffix": "mine",
        "hyperparameters": {"n_epochs": 2, "batch_size": 8},
        "metadata": {"a": "b"},
        "seed": 1,
    },
}
_READ = ("/adapters", "/adapters/{}", "/adapters/{}/card", FILES, FILES + "/{}", FILES + "/{}/content", JOBS)
_READ_TOO = (JOBS + "/{}", JOBS + "/{}/events", "/page/{}", "/static/{}", "/key", "/version", "/metrics", "/{}")
_IDS = (
    *(
        "prefixed",
        "prefixed@",
        "@",
        "plain@" + "f" * 12,
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff",
        "%ed%a0%80",
        ".",
        "%2e",
    ),
    *("file-" + "0" * 24, "ftjob-" + "f" * 24, "x" * 5000, "%0d%0aset-cookie:%20x", "a/b/c", "%F0%9F%98%80", "{}", "*"),
)
_QUERIES = (
    *("limit=0", "limit=-1", "limit=1e3", "limit=" + "9" * 400, "limit=1&limit=2", "after=", "after=%00", "after=%ff"),
    *("order=up", "x=y", "stream=maybe", "stream=true", "metadata[a]=b", "metadata[]=b", "metadata[%ed%a0%80]=1"),
    *("purpose=x", "&&&&=", "=" * 500, "%", "after=" + "x" * 3000, "limit=%EF%BC%91"),
)


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """One changed request after the other."""
    client = stage.client("alice")
    while True:
        yield draw.choice((_changed, _changed, _changed, _misspelt, _misspelt, _asked, _of_another_kind))(client, draw)


def _changed(client: httpx2.Client, draw: random.Random) -> Try:
    """A field with another value, without it, or with one more."""
    path = draw.choice(list(BODIES))
    body = copy.deepcopy(dict(BODIES[path]))
    within: Any = body
    told = path
    while True:
        name = draw.choice(list(within)) if isinstance(within, dict) else draw.randrange(len(within))
        told += f".{name}"
        if not (isinstance(within[name], dict | list) and within[name] and draw.random() < 0.5):
            break
        within = within[name]
    match draw.randrange(6):
        case 0:
            del within[name]
            told += " left out"
        case 1:
            body[str(draw.choice(("extra", "", "\ud800", "__class__", "Text")))] = 1
            told += " and another field"
        case _:
            within[name] = draw.choice(odd.VALUES)
            told += f" = {odd.shown(within[name])}"
    content = _with_any_numbers(body)
    return Try(told, lambda: complaint(client.post(path, content=content, headers={"content-type": _JSON})))


def _with_any_numbers(body: Any) -> bytes:
    """JSON with NaN, and with whole numbers that have more digits than Python writes by itself."""
    return json.dumps(_shortened(body)).replace('"10**400"', "1" + "0" * 400).encode()


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    return "10**400" if value == 10**400 else value


def _misspelt(client: httpx2.Client, draw: random.Random) -> Try:
    """What is no JSON, or is no object."""
    path = draw.choice(list(BODIES))
    good = json.dumps(BODIES[path]).encode()
    place = draw.randrange(len(good))
    told, content = draw.choice(
        (
            ("cut off", good[:place]),
            ("a byte changed", good[:place] + bytes([draw.randrange(256)]) + good[place + 1 :]),
            ("nested", odd.nested(draw).encode()),
            ("nested in a field", b'{"text": ' + odd.nested(draw).encode() + b"}"),
            ("UTF-16", good.decode().encode("utf-16")),
            ("with a mark", b"\xef\xbb\xbf" + good),
            ("twice", good + good),
            ("a list", b"[" + good + b"]"),
            ("nothing", b""),
            ("blank", b" " * draw.randrange(1, 100_000)),
            ("random bytes", draw.randbytes(draw.randrange(1, 5000))),
            ("a comment", b"/* x */" + good),
            ("single quotes", good.replace(b'"', b"'")),
            ("the same field again and again", b"{" + b'"text": "a", ' * 20_000 + b'"text": "b"}'),
            ("many fields", b"{" + b", ".join(b'"f%d": 1' % number for number in range(20_000)) + b"}"),
            ("a number without end", b'{"text": "a", "top_k": ' + b"9" * 100_000 + b"}"),
            ("an exponent", b'{"text": "a", "top_k": 1e999999999}'),
        )
    )
    return Try(f"{path} {told}", lambda: complaint(client.post(path, content=content, headers={"content-type": _JSON})))


def _asked(client: httpx2.Client, draw: random.Random) -> Try:
    """A path and a query of any kind."""
    path = draw.choice((*_READ, *_READ_TOO)).format(draw.choice(_IDS))
    query = "?" + "&".join(draw.sample(_QUERIES, draw.randrange(1, 3))) if draw.random() < 0.6 else ""
    method = draw.choice(("GET", "GET", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"))
    return Try(f"{method} {(path + query)[:120]}", lambda: _complaint_of(client.request(method, path + query)))


def _complaint_of(reply: httpx2.Response) -> str | None:
    """The answer to HEAD has no body to say why."""
    has_body = reply.request.method != "HEAD"
    if not has_body and reply.status_code >= 500:
        return f"was answered {reply.status_code}"
    return complaint(reply) if has_body else None


def _of_another_kind(client: httpx2.Client, draw: random.Random) -> Try:
    """JSON that says it is something else, or something else that says it is JSON."""
    path = draw.choice(list(BODIES))
    kind = draw.choice(
        (
            *(
                "text/plain",
                "",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/xml",
            ),
            *(
                "application/json; charset=utf-7",
                "application/json; charset=\xff",
                "json",
                "application/msgpack",
                "*/*",
            ),
        )
    )
    headers = {"content-type": kind.encode("latin-1")}
    if draw.random() < 0.4:
        headers["content-encoding"] = draw.choice((b"gzip", b"br", b"zstd", b"identity", b"x" * 500))
    content = json.dumps(BODIES[path]).encode()
    judge = complaint if kind.startswith("application/json") else lambda reply: refused(reply, 400, 415, 422)
    return Try(
        f"{path} as {kind!r} {headers.get('content-encoding', b'')[:20]!r}",
        lambda: judge(client.post(path, content=content, headers=headers)),  # type: ignore[arg-type]
    )


REQUESTS = Kind(name="requests", told="malformed requests, every operation", tries=tries, num_tries=250, most_mib=200)
