"""Clients that ask for as much as they may, on many connections; who asks for little must not wait for them."""

import asyncio
import json
import random
import time
from collections.abc import Generator
from typing import Any

from tests.bench.abuse import odd
from tests.bench.abuse.stage import Stage, key_of
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import first, refusal_complaint
from tests.bench.abuse.wire import Address, head, last_answer

_BURST_S = 1.5
_LONGEST_WAIT_S = 3.0  # of the bystander's slowest request, on a machine that does other things, too
_GREEDY = f"authorization: Bearer {key_of('greedy')}"


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """One burst after the other, each of one shape."""
    while True:
        num = draw.choice((1, 2, 4, 8, 16, 32))
        path, body = _wanted(draw)
        sent = {name: value if not isinstance(value, list) else len(value) for name, value in body.items()}
        yield Try(
            f"{num} x {path} {odd.shown(sent)}",
            lambda num=num, path=path, body=body: _burst(stage, num, path, json.dumps(body).encode()),  # type: ignore[misc]
        )


def _wanted(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """As much as one request may ask for, of one of the operations."""
    texts = [f"{draw.choice(('the food', 'my room', 'the staff'))} was number {draw.random()}" for _ in range(256)]
    sampling = {"strategy": "sample", "seed": draw.randrange(2**31), "max_tokens": 24}
    return draw.choice(
        (
            ("/encode", {"texts": [f"{text} and {text}" for text in texts], "truncate": True}),
            ("/encode", {"text": texts[0]}),
            ("/decode", {"samples": 64, "decoding": sampling, "candidates": 1}),
            ("/decode", {"samples": 64, "decoding": {**sampling, "strategy": "beam", "seed": 0, "num_beams": 8}}),
            ("/decode", {"samples": 32, "stream": True, "decoding": sampling}),
            (
                "/interpolate",
                {"source": texts[0], "target": texts[1], "steps": 64, "candidates": 8, "decoding": sampling},
            ),
            (
                "/analogy",
                {"a": texts[:64], "b": texts[64:128], "c": texts[128:160], "samples": 2, "decoding": sampling},
            ),
            ("/variations", {"texts": texts[:16], "n": 16, "decoding": sampling}),
            ("/map", {"texts": [f"{text} {number}" for number in range(8) for text in texts], "truncate": True}),
        )
    )


def _burst(stage: Stage, num: int, path: str, content: bytes) -> str | None:
    """The greedy ones for a while; what was wrong with their answers, and with the wait of one who asks meanwhile."""
    client, waits = stage.client("reader"), list[float]()

    def ask_a_little() -> None:
        end_s = time.monotonic() + _BURST_S
        while time.monotonic() < end_s:
            began_s = time.monotonic()
            client.post("/encode", json={"text": f"fine {began_s}"}).raise_for_status()
            waits.append(time.monotonic() - began_s)

    async def all_at_once() -> list[str | None]:
        greedy = [asyncio.ensure_future(_ask(stage.address, path, content)) for _ in range(num)]
        await asyncio.to_thread(ask_a_little)
        return list(await asyncio.gather(*greedy))

    complaints = asyncio.run(all_at_once())
    too_long = f"a small request took {max(waits):.2f} s" if max(waits) > _LONGEST_WAIT_S else None
    return first(*complaints, too_long)


async def _ask(address: Address, path: str, content: bytes) -> str | None:
    """Again and again until the burst is over, each on a connection of its own."""
    end_s = time.monotonic() + _BURST_S
    lines = (_GREEDY, "content-type: application/json", f"content-length: {len(content)}", "connection: close")
    complaints: list[str | None] = []
    while time.monotonic() < end_s:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head("POST", path, *lines) + content)
        answer = last_answer(await reader.read(-1))
        writer.close()
        complaints.append("no answer" if answer is None else None if answer[0] == 200 else refusal_complaint(*answer))
        if answer is not None and answer[0] == 429:
            await asyncio.sleep(0.1)
    return first(*complaints)


GREEDY = Kind(name="greedy", told="greedy clients", tries=tries, num_tries=20, most_mib=400)
