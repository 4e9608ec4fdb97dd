"""The service as its users see it: cost of HTTP and queue, cache, overload, cold and many adapter sets, start-up."""

import asyncio
import gc
import random
import statistics
import tempfile
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adavae.model.decoding.decoding import Decoding
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.pretrained import load_backbone
from tests.bench.load import Answer, Body, Connection, closed_loop, open_loop, undisturbed, written
from tests.bench.served import publish_random_sets, served
from tests.bench.side_by_side import Figure, percentile
from tests.bench.subjects import BUNDLED, RunningEngine, Subject, running_engine

HOST = "127.0.0.1"
WORDS = "the food was great and staff rude place nice service slow we will be back never again room".split()  # noqa: SIM905
OVERHEAD_REQUESTS = 96
Request = tuple[str, Body]


def http_figures(rounds: int) -> Iterator[Figure]:
    """Every figure that needs a server."""
    gc.collect()
    gc.freeze()  # objects that torch has created need not be scanned again, which takes 100 ms each time
    yield from start(rounds)
    yield from cached_encode()
    yield from overhead(rounds)
    yield from clients_and_latency(rounds)
    yield from overload()
    yield from cold_adapter()
    yield many_sets(rounds)


def sentence(draw: random.Random, num_words: int = 10) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(num_words)) + f" {draw.randrange(10**9)}."


def start(rounds: int) -> Iterator[Figure]:
    seconds = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as data, served(Path(data)) as server:
            seconds.append(server.start_s)
    yield _bounded("start of adavae serve to ready", seconds, "s", at_most=5.0)


def cached_encode() -> Iterator[Figure]:
    """One client, texts of about 32 tokens: first and second request."""
    draw = random.Random(0)
    texts = [sentence(draw, 26) for _ in range(300)]

    def request(number: int) -> Request:
        return "/encode", {"text": texts[number], "encoding_format": "base64"}

    with _server() as server:
        asyncio.run(
            closed_loop(HOST, server.port, lambda n: ("/encode", {"text": f"warm {n}"}), num_clients=1, num_requests=20)
        )
        miss, hit = (
            [
                answer.seconds * 1000
                for answer in asyncio.run(
                    closed_loop(HOST, server.port, request, num_clients=1, num_requests=len(texts))
                )
            ]
            for _ in range(2)
        )
    p50_miss, p50_hit = statistics.median(miss), statistics.median(hit)
    details = {
        "miss_p50_ms": round(p50_miss, 2),
        "hit_p50_ms": round(p50_hit, 2),
        "hit_p99_ms": round(percentile(hit, 0.99), 2),
    }
    yield Figure(
        name="cached encode: miss over hit, p50",
        value=round(p50_miss / p50_hit, 2),
        low=round(p50_miss / percentile(hit, 0.9), 2),
        high=round(p50_miss / min(hit), 2),
        target=">= 20",
        is_met=p50_miss / p50_hit >= 20,
        details=details,
    )
    yield _bounded("cached encode: p50 of a hit", [p50_hit], "ms", at_most=3.0)


def overhead(rounds: int) -> Iterator[Figure]:
    """Sixteen clients through HTTP against sixteen callers of the bare engine with the same work, in turn."""
    adapter_set = AdapterStore(BUNDLED.parent / "adapters").read("yelp")
    subject = Subject("bundled", load_backbone(BUNDLED), [adapter_set])
    encode = subject.pretrained.tokenizer.encode
    decoding = Decoding(max_tokens=24)

    def encode_body(number: int) -> Body:
        draw = random.Random(number)
        return {"texts": [sentence(draw) for _ in range(8)], "encoding_format": "base64", "adapter": "yelp"}

    def decode_body(z: Sequence[list[float] | str]) -> Body:
        return {"z": z, "decoding": {"max_tokens": decoding.max_tokens}, "adapter": "yelp"}

    def drawn(number: int) -> NDArray[np.float32]:
        z: NDArray[np.float32] = adapter_set.manifest.prior.sample(4, seed=number).numpy()
        return z

    def numbers_body(number: int) -> Body:
        return decode_body(drawn(number).tolist())

    def base64_body(number: int) -> Body:
        return decode_body([b64encode(row.astype("<f4").tobytes()).decode() for row in drawn(number)])

    with running_engine(subject) as running, _server() as server:
        engine = running.engine

        async def encoded(body: Body) -> None:
            rows = [encode(text) for text in body["texts"]]
            await engine.encode(rows, [0] * len(rows), deadline_s=100)

        async def decoded(body: Body) -> None:
            rows = [np.frombuffer(b64decode(row), "<f4") if isinstance(row, str) else row for row in body["z"]]
            z = np.array(rows, dtype=np.float32)
            await engine.decode(z, 0, [decoding] * len(z), deadline_s=100)

        works = {
            "encode, 8 rows a request": (encode_body, encoded),
            "decode, 4 rows a request": (numbers_body, decoded),
            "decode, 4 rows a request, z in base64": (base64_body, decoded),
        }
        for name, (body, bare) in works.items():
            ratios = []
            for number in range(rounds + 1):
                bodies = [body(1000 * number + request) for request in range(OVERHEAD_REQUESTS)]
                alone = _timed_callers(running, bare, bodies)
                through = _timed_clients(server.port, f"/{name.partition(',')[0]}", bodies)
                ratios.append(through / alone)
            title = f"HTTP and queue over the bare engine, 16 clients: {name}"
            details = {"requests_per_s": round(OVERHEAD_REQUESTS / through, 1)}
            yield _bounded(title, ratios[1:], "times the time", at_most=1.15, details=details)


def _timed_callers(
    running: RunningEngine, bare: Callable[[Body], Coroutine[Any, Any, None]], bodies: Sequence[Body]
) -> float:
    async def caller(bodies: Sequence[Body]) -> None:
        for body in bodies:
            await bare(body)

    began = time.perf_counter()
    running.all([caller(bodies[first::16]) for first in range(16)])
    return time.perf_counter() - began


def _timed_clients(port: int, path: str, bodies: Sequence[Body]) -> float:
    contents = [written(body) for body in bodies]
    began = time.perf_counter()
    loop = closed_loop(HOST, port, lambda number: (path, contents[number]), num_clients=16, num_requests=len(bodies))
    answers = asyncio.run(loop)
    assert {answer.status for answer in answers} == {200}
    return time.perf_counter() - began


def mixed(number: int) -> Request:
    """Every operation and every bundled set, short and long walks; texts end by themselves, or at 16 tokens."""
    draw = random.Random(number)
    adapter = draw.choice(["yelp", "yelp-lm", "sst2", "trec", "captions"])
    decoding: Body = draw.choice([{}, {"decoding": {"max_tokens": 16}}])
    match draw.randrange(10):
        case 0 | 1 | 2 | 3:
            return "/encode", {"texts": [sentence(draw)], "adapter": adapter, "encoding_format": "base64"}
        case 4 | 5:
            return "/classify", {"text": sentence(draw), "adapter": draw.choice(["yelp", "sst2", "trec"])}
        case 6 | 7:
            steps = draw.choice([5, 11])
            body = {"source": sentence(draw), "target": sentence(draw), "steps": steps, "adapter": adapter}
            return "/interpolate", body | decoding
        case 8:
            body = {"a": sentence(draw), "b": sentence(draw), "c": sentence(draw), "adapter": adapter}
            return "/analogy", body | decoding
        case _:
            return "/decode", {"samples": 2, "adapter": adapter} | decoding


def clients_and_latency(rounds: int) -> Iterator[Figure]:
    """Mixed requests, 1 to 64 clients, each time with texts of their own: latency and goodput."""
    with _server() as server:
        for num_clients in (1, 4, 16, 64):
            yield _mixed_figure(server.port, num_clients, 0)[0]
        ratios = [_mixed_figure(server.port, 64, number)[1] for number in range(1, rounds + 1)]
    yield _bounded("mixed endpoints and sets, 64 clients: p99 over p50", ratios, "ratio", at_most=4.0)


def _mixed_figure(port: int, num_clients: int, number: int) -> tuple[Figure, float]:
    """Goodput and latencies, and p99 over p50."""
    first, num_requests = 10_000 * (num_clients + number), 60 + 12 * num_clients
    asyncio.run(closed_loop(HOST, port, mixed, num_clients=num_clients, num_requests=num_clients * 2))
    began = time.perf_counter()
    loop = closed_loop(HOST, port, _from(mixed, first), num_clients=num_clients, num_requests=num_requests)
    answers = asyncio.run(loop)
    per_s = round(sum(answer.status == 200 for answer in answers) / (time.perf_counter() - began), 1)
    seconds = [answer.seconds for answer in answers]
    figure = Figure(
        name=f"mixed endpoints and sets, {num_clients} clients",
        value=per_s,
        low=per_s,
        high=per_s,
        unit="requests/s",
        details=_latencies(answers),
    )
    return figure, percentile(seconds, 0.99) / statistics.median(seconds)


def overload(duration_s: float = 60.0) -> Iterator[Figure]:
    """Four times the peak for a minute."""
    with _server(max_queued_rows="64") as server:
        asyncio.run(closed_loop(HOST, server.port, mixed, num_clients=16, num_requests=64))
        began = time.perf_counter()
        answers = asyncio.run(closed_loop(HOST, server.port, _from(mixed, 5000), num_clients=16, num_requests=400))
        peak = sum(answer.status == 200 for answer in answers) / (time.perf_counter() - began)
        began = time.perf_counter()
        flood = asyncio.run(open_loop(HOST, server.port, _from(mixed, 10_000), per_s=4 * peak, duration_s=duration_s))
        elapsed = time.perf_counter() - began
    good = [answer for answer in flood if answer.status == 200]
    refused = [answer for answer in flood if answer.status == 429]
    others = len(flood) - len(good) - len(refused)
    share = len(good) / elapsed / peak
    details = {
        "peak_per_s": round(peak, 1),
        "sent": len(flood),
        "good": len(good),
        "refused": len(refused),
        "other": others,
        "answered_of": _answered_shares(flood),
    }
    yield Figure(
        name="4x overload: goodput over the peak",
        value=round(share, 3),
        low=round(share, 3),
        high=round(share, 3),
        target=">= 0.9",
        is_met=share >= 0.9 and others == 0,
        details=details | {f"good_{name}": value for name, value in _latencies(good).items()},
    )
    milliseconds = [answer.seconds * 1000 for answer in refused]
    yield _bounded("4x overload: p99 of a refusal", [percentile(milliseconds, 0.99)], "ms", at_most=50.0)


def _answered_shares(answers: Sequence[Answer]) -> str:
    """By operation: a queue that is full has room for a request of one row more often than for one of many."""
    sent = Counter(answer.path for answer in answers)
    good = Counter(answer.path for answer in answers if answer.status == 200)
    return ", ".join(f"{path} {good[path] / sent[path]:.2f}" for path in sorted(sent))


def cold_adapter() -> Iterator[Figure]:
    """First answers of sets that are not in memory, and other traffic at the same time."""
    with tempfile.TemporaryDirectory() as directory:
        names = publish_random_sets(Path(directory), 60)
        with _server(Path(directory), bank_slots="8") as server:

            async def traffic(asked: Sequence[str]) -> tuple[list[float], list[float]]:
                """Milliseconds of one request each for ``asked``, and of another client's requests meanwhile."""
                stop, others, firsts = asyncio.Event(), list[float](), list[float]()

                async def steady() -> None:
                    connection, number = Connection(HOST, server.port), 0
                    while not stop.is_set():
                        draw = random.Random(f"{asked[:1]}{number}")
                        number += 1
                        began = time.perf_counter()
                        await connection.post("/encode", {"text": sentence(draw), "adapter": "yelp"})
                        others.append((time.perf_counter() - began) * 1000)
                    connection.close()

                client = asyncio.ensure_future(steady())
                connection = Connection(HOST, server.port)
                await asyncio.sleep(1.0)
                others.clear()
                for number in range(len(names)):
                    await asyncio.sleep(0.1)
                    if asked:
                        body = {"text": f"hello there, number {number}.", "adapter": asked[number]}
                        began = time.perf_counter()
                        status, _ = await connection.post("/encode", body)
                        assert status == 200
                        firsts.append((time.perf_counter() - began) * 1000)
                stop.set()
                await client
                return firsts, others

            with undisturbed():
                _, quiet = asyncio.run(traffic([]))
                _, beside_loaded = asyncio.run(traffic(["yelp-lm"] * len(names)))
                firsts, busy = asyncio.run(traffic(names))
    details = {"p50_ms": round(statistics.median(firsts), 1), "max_ms": round(max(firsts), 1)}
    yield _bounded(
        "cold adapter set, disk to first answer, p95", [percentile(firsts, 0.95)], "ms", at_most=100.0, details=details
    )
    ratio = percentile(busy, 0.99) / percentile(quiet, 0.99)
    p99s = {"quiet": quiet, "beside_a_loaded_set": beside_loaded, "loading": busy}
    details = {f"p99_{when}_ms": round(percentile(milliseconds, 0.99), 1) for when, milliseconds in p99s.items()}
    yield _bounded("p99 of other traffic while sets are loaded", [ratio], "ratio", at_most=1.25, details=details)


def many_sets(rounds: int) -> Figure:
    """A thousand registered sets over eight, Zipf traffic over eight names in both."""
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        names = publish_random_sets(Path(few), 8)
        publish_random_sets(Path(many), 1000)

        def zipf(number: int) -> Request:
            draw = random.Random(number)
            weights = [1 / (rank + 1) for rank in range(len(names))]
            name = draw.choices(names, weights)[0]
            return "/encode", {
                "texts": [sentence(draw) for _ in range(4)],
                "adapter": name,
                "encoding_format": "base64",
            }

        with _server(Path(few)) as small, _server(Path(many)) as large:
            ratios, per_s = [], []
            for number in range(rounds + 1):
                rates = []
                for server in (large, small):
                    began = time.perf_counter()
                    asyncio.run(
                        closed_loop(HOST, server.port, _from(zipf, number * 1000), num_clients=8, num_requests=200)
                    )
                    rates.append(200 / (time.perf_counter() - began))
                if number:
                    ratios.append(rates[0] / rates[1])
                    per_s.append(rates[0])
    return Figure(
        name="1,000 sets registered over 8, Zipf traffic",
        value=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        target=">= 0.93",
        is_met=statistics.median(ratios) >= 0.93,
        details={"requests_per_s": round(statistics.median(per_s), 1)},
    )


def _server(data: Path | None = None, **settings: str) -> Any:
    return served(data or Path(tempfile.mkdtemp()), **settings)


def _from(request: Callable[[int], Request], offset: int) -> Callable[[int], Request]:
    return lambda number: request(number + offset)


def _latencies(answers: list[Answer]) -> dict[str, float]:
    milliseconds = [answer.seconds * 1000 for answer in answers] or [0.0]
    return {f"p{round(100 * share)}_ms": round(percentile(milliseconds, share), 1) for share in (0.5, 0.95, 0.99)}


def _bounded(
    name: str, values: list[float], unit: str, *, at_most: float, details: Mapping[str, Any] | None = None
) -> Figure:
    median = statistics.median(values)
    return Figure(
        name=name,
        value=round(median, 3),
        low=round(min(values), 3),
        high=round(max(values), 3),
        unit=unit,
        target=f"<= {at_most:g}",
        is_met=median <= at_most,
        details=details or {},
    )
