"""Texts without bounds: as many characters as a body may have, of every kind, where tokenizing costs most."""

import random
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tests.bench.abuse import odd
from tests.bench.abuse.stage import Stage
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first, refused
from tests.bench.abuse.written import as_json

_MOST_CHARACTERS = 3_900_000
_MOST_SIDE_BY_SIDE = 4
_LONGEST_S = 30.0
_GOOD = "the food was great"

Place = Callable[[str, bool], tuple[str, dict[str, Any]]]
PLACES: tuple[Place, ...] = (
    lambda text, cut: ("/encode", {"text": text, "truncate": cut}),
    lambda text, cut: ("/encode", {"texts": [_GOOD, text], "truncate": cut}),
    lambda text, cut: ("/encode", {"texts": [text[:200]] * 200, "truncate": cut}),
    lambda text, cut: ("/map", {"texts": [_GOOD, text, "my room was bad"], "truncate": cut}),
    lambda text, _: ("/classify", {"text": text}),
    lambda text, _: ("/interpolate", {"source": _GOOD, "target": text, "steps": 2}),
    lambda text, _: ("/analogy", {"a": text, "b": _GOOD, "c": [_GOOD, text[:50]]}),
    lambda text, _: ("/variations", {"text": text, "n": 1}),
    lambda text, _: ("/traverse", {"text": text, "direction": {"dimension": 0}, "steps": 2}),
    lambda text, _: ("/traverse", {"text": _GOOD, "direction": {"from": [text], "to": [_GOOD]}, "steps": 2}),
    lambda text, _: ("/encode", {"text": _GOOD, "adapter": text}),
    lambda text, _: ("/decode", {"samples": 1, "label": text}),
)


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """A text in one of the places where texts go, once or several times at once."""
    client = stage.client("alice")
    while True:
        text, cut = odd.text(draw, _MOST_CHARACTERS), draw.random() < 0.5
        is_broken = draw.random() < 0.15
        if is_broken:
            place = draw.randrange(len(text) + 1)
            text = text[:place] + draw.choice(("\ud800", "\udc00", "\udbff\ud800")) + text[place:]
        path, body = draw.choice(PLACES)(text, cut)
        content = as_json(draw, body)
        side_by_side = _MOST_SIDE_BY_SIDE if draw.random() < 0.2 else 1
        how = f"{side_by_side} x " if side_by_side > 1 else ""
        name = f"{how}{path} {odd.shown(text[:40])} of {len(text)} characters{', cut' if cut else ''}"
        yield Try(name, lambda sent=(path, content, side_by_side): _send(client, *sent))  # type: ignore[misc]


def _send(client: httpx2.Client, path: str, content: bytes, num: int) -> str | None:
    began_s = time.monotonic()
    with ThreadPoolExecutor(num) as threads:
        replies = list(threads.map(lambda _: _post(client, path, content), range(num)))
    seconds = time.monotonic() - began_s
    too_slow = f"it took {seconds:.1f} s, the limit is {_LONGEST_S:g}" if seconds > _LONGEST_S else None
    too_large = refused(replies[0], 413) if len(content) > 4 * 1024**2 else None
    return first(*map(complaint, replies), too_slow, too_large)


def _post(client: httpx2.Client, path: str, content: bytes) -> httpx2.Response:
    return client.post(path, content=content, headers={"content-type": "application/json"})


TEXTS = Kind(name="texts", told="texts without bounds", tries=tries, num_tries=90, most_mib=400)
