"""A small client beside a greedy one: ``python -m tests.bench.fairness``.

Quiet and beside the greedy one in turns, several times, so that what else the machine does weighs on both alike. The
cache is off and every text is new.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.http_speed import HOST, sentence
from tests.bench.load import Body, Connection, undisturbed, written
from tests.bench.served import served
from tests.bench.side_by_side import percentile

GREEDY_KEY, SMALL_KEY = "greedy-key-of-the-bench", "small-key-of-the-bench"
Request = tuple[str, Body]
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Greedy:
    """What the greedy client asks for, all the time.

    Attributes:
        num_connections: Side by side, each sends its next request at once.
    """

    name: str
    num_connections: int
    request: Callable[[random.Random], Request]


@dataclass(slots=True)
class Seconds:
    """Of the small client's requests of one kind."""

    quiet: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def _long_text(draw: random.Random) -> str:
    return " ".join(sentence(draw, 12) for _ in range(40))


GREEDY = (
    Greedy(
        "256 texts of 255 tokens, 2 requests at a time",
        2,
        lambda draw: ("/encode", {"texts": [_long_text(draw) for _ in range(256)], "truncate": True}),
    ),
    Greedy(
        "64 samples of 128 tokens, 32 requests at a time",
        32,
        lambda draw: ("/decode", {"samples": 64, "decoding": _sampling(draw, 128), "candidates": 1}),
    ),
    Greedy(
        "16 samples, 32 requests at a time",  # whose texts together are short
        32,
        lambda draw: ("/decode", {"samples": 16, "decoding": _sampling(draw, 48), "candidates": 1}),
    ),
    Greedy(
        "4 samples of 2 tokens, 400 requests at a time",  # whose time goes into draws of z
        400,
        lambda draw: ("/decode", {"samples": 4, "decoding": _sampling(draw, 2), "candidates": 1}),
    ),
    Greedy("one text of 10 words, 64 requests at a time", 64, lambda draw: ("/encode", {"text": sentence(draw)})),
)
SMALL: Mapping[str, Callable[[random.Random], Request]] = {
    "encode 1 sentence": lambda draw: ("/encode", {"text": sentence(draw)}),
    "encode 8 sentences": lambda draw: ("/encode", {"texts": [sentence(draw, 20) for _ in range(8)]}),
    "decode 1 sample": lambda draw: ("/decode", {"samples": 1, "decoding": _sampling(draw, 40), "candidates": 1}),
    "interpolate 7 steps": lambda draw: (
        "/interpolate",
        {"source": sentence(draw), "target": sentence(draw), "steps": 7, "candidates": 1},
    ),
}


def _sampling(draw: random.Random, max_tokens: int) -> dict[str, Any]:
    return {"strategy": "sample", "seed": draw.randrange(2**31), "max_tokens": max_tokens}


async def measured(
    port: int, greedy: Greedy, *, rounds: int, requests: int, is_same: bool
) -> tuple[dict[str, Seconds], int]:
    """Seconds of every kind of small request; how many of them were refused."""
    found = {kind: Seconds() for kind in SMALL}
    draw, num_refused = random.Random(0), 0
    small = Connection(HOST, port, key=GREEDY_KEY if is_same else SMALL_KEY)

    async def ask(kind: str) -> float:
        nonlocal num_refused
        path, body = SMALL[kind](draw)
        content = written(body)
        began = time.perf_counter()
        status, _ = await small.post(path, content)
        num_refused += status != 200
        return time.perf_counter() - began

    for kind in list(SMALL) * _WARM_UP:
        await ask(kind)
    for _ in range(rounds):
        for kind, seconds in found.items():
            seconds.quiet += [await ask(kind) for _ in range(requests)]
        async with asking_all_the_time(port, greedy):
            for kind, seconds in found.items():
                seconds.beside += [await ask(kind) for _ in range(requests)]
    small.close()
    return found, num_refused


@contextlib.asynccontextmanager
async def asking_all_the_time(port: int, greedy: Greedy) -> AsyncIterator[None]:
    """The greedy client, from when its first requests are on their way."""

    async def ask(seed: int) -> None:
        draw, connection = random.Random(seed), Connection(HOST, port, key=GREEDY_KEY)
        try:
            while True:
                path, body = greedy.request(draw)
                status, _ = await connection.post(path, written(body))
                if status == 429:
                    await asyncio.sleep(0.1)
        finally:
            connection.close()

    asking = [asyncio.ensure_future(ask(number)) for number in range(greedy.num_connections)]
    await asyncio.sleep(1.0)
    try:
        yield
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def table(greedy: Greedy, found: Mapping[str, Seconds], num_refused: int, *, is_same: bool) -> str:
    """Rows of Markdown."""
    whose = "same key" if is_same else "another key"
    rows = []
    for kind, seconds in found.items():
        quiet, beside = (
            [1000 * percentile(values, share) for share in (0.5, 0.99)] for values in (seconds.quiet, seconds.beside)
        )
        rows.append(
            f"| {greedy.name} | {whose} | {kind} | {quiet[0]:.1f}, {quiet[1]:.1f} | {beside[0]:.1f}, {beside[1]:.1f} | "
            f"{beside[0] / quiet[0]:.1f} | {beside[1] / quiet[1]:.1f} | {num_refused} |"
        )
    return "\n".join(rows)


HEAD = """| greedy | small has | small asks for | quiet: p50, p99 in ms | beside: p50, p99 | p50 | p99 | refused |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20, help="small requests of each kind, each time")
    parser.add_argument("--same", action="store_true", help="the small client has the greedy one's key, too")
    parser.add_argument("--only", type=int, choices=range(len(GREEDY)), help="one of the greedy clients")
    chosen = parser.parse_args()
    sys.stdout.write(HEAD + "\n")
    keys = f"{GREEDY_KEY}:infer {SMALL_KEY}:infer"
    for number, greedy in enumerate(GREEDY):
        if chosen.only not in (None, number):
            continue
        with (
            tempfile.TemporaryDirectory() as data,
            served(Path(data), cache_bytes="0", api_keys=keys) as server,
            undisturbed(),
        ):
            found, num_refused = asyncio.run(
                measured(server.port, greedy, rounds=chosen.rounds, requests=chosen.requests, is_same=chosen.same)
            )
        sys.stdout.write(table(greedy, found, num_refused, is_same=chosen.same) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
